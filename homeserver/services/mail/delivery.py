"""Hands what waits to the mail server, in order, with pauses that grow while it is away.

A message is deleted when the mail server has taken it, refused it for good, or it is not worth sending any more.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import TYPE_CHECKING, Any

import structlog

from homeserver.runtime.smtp_client import MailRefused, MailServerAway, SmtpClient
from homeserver.storage import outgoing_mail

if TYPE_CHECKING:
    from homeserver.runtime.background import BackgroundTasks
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.randomness import Randomness
    from homeserver.runtime.smtp_client import SmtpConnection
    from homeserver.services.mail.outbox import Outbox
    from homeserver.storage.database import Database
    from homeserver.storage.outgoing_mail import WaitingMail
    from homeserver_config.sections.email import EmailSettings

_BATCH = 20
# One message may take several answers of the mail server, each within the time-out.
_CLAIM_TIMEOUTS = 6
_LOOK_EVERY_S = 60.0
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 300.0
_FIRST_RETRY_MS = 30_000
_LONGEST_RETRY_MS = 3_600_000
_log = structlog.get_logger("homeserver.mail")


class MailDelivery:
    """The worker of this process. Several processes share the queue."""

    def __init__(
        self,
        settings: EmailSettings,
        server_name: str,
        database: Database,
        clock: Clock,
        randomness: Randomness,
        outbox: Outbox,
    ) -> None:
        self._settings = settings
        self._server_name = server_name
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._smtp = SmtpClient(settings)
        self._woken = asyncio.Event()
        self._pause_s = 0.0
        outbox.on_queued = self._woken.set

    def start(self, background: BackgroundTasks) -> None:
        """Begin with what was waiting when the server stopped."""
        background.keep_running("mail", self._run)

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            if not await self._send_batch():
                await self._wait()

    async def _wait(self) -> None:
        """Until a message is queued or due; while the mail server is away, the pause in full."""
        if self._pause_s:
            await self._clock.sleep(self._pause_s * self._randomness.uniform(0.9, 1.1))
            return
        next_ms = await self._database.read(outgoing_mail.find_next_due)
        seconds = _LOOK_EVERY_S
        if next_ms is not None:
            seconds = min(seconds, max(0.05, (next_ms - self._clock.now_ms()) / 1000))
        waits = [asyncio.ensure_future(self._clock.sleep(seconds)), asyncio.ensure_future(self._woken.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _send_batch(self) -> bool:
        """Send what is due; False if that was nothing, or the mail server is away."""
        now_ms = self._clock.now_ms()
        claimed_until_ms = now_ms + self._settings.timeout * _CLAIM_TIMEOUTS
        claimed = await self._database.write(outgoing_mail.claim_due, now_ms, claimed_until_ms, _BATCH)
        expired = [one for one in claimed if one.expires_ms <= now_ms]
        if expired:
            await self._database.write(outgoing_mail.delete_mail, [one.nid for one in expired])
            _log.warning("e-mail given up: it was not sent in time", count=len(expired))
        due = [one for one in claimed if one.expires_ms > now_ms]
        if not due:
            return bool(claimed)
        unsent = list(due)
        try:
            _, sender = parseaddr(self._settings.from_address)
            async with self._smtp.connect(sender) as connection:
                for one in due:
                    if self._clock.now_ms() > claimed_until_ms - self._settings.timeout * (_CLAIM_TIMEOUTS - 1):
                        break  # what is left is due again when the claim ends
                    await self._send(connection, one)
                    unsent.remove(one)
        except MailServerAway as failure:
            await self._mail_server_is_away(unsent, failure)
            return False
        except asyncio.CancelledError:
            # The server stops; whoever starts next need not wait for the end of the claim.
            await self._give_back(unsent)
            raise
        self._pause_s = 0.0
        return True

    async def _send(self, connection: SmtpConnection, one: WaitingMail) -> None:
        try:
            await connection.send(self._message(one.content), one.content["recipient"])
        except MailRefused as refusal:
            await self._refused(one, refusal)
            return
        await self._database.write(outgoing_mail.delete_mail, [one.nid])
        _log.info("e-mail sent", mail=one.nid, attempts=one.attempts + 1)

    async def _refused(self, one: WaitingMail, refusal: MailRefused) -> None:
        if refusal.for_good:
            await self._database.write(outgoing_mail.delete_mail, [one.nid])
            _log.warning("e-mail refused", mail=one.nid, reason=str(refusal))
            return
        pause_ms = min(_FIRST_RETRY_MS << min(one.attempts, 20), _LONGEST_RETRY_MS)
        due_ms = self._clock.now_ms() + round(pause_ms * self._randomness.uniform(0.9, 1.1))
        await self._database.write(outgoing_mail.postpone, one.nid, one.attempts + 1, due_ms)
        _log.info("e-mail postponed", mail=one.nid, attempts=one.attempts + 1, reason=str(refusal))

    async def _mail_server_is_away(self, unsent: list[WaitingMail], failure: MailServerAway) -> None:
        """Put everything back: the next attempt is after the pause, which is one for all."""
        await self._give_back(unsent)
        self._pause_s = min(max(_FIRST_PAUSE_S, self._pause_s * 2), _LONGEST_PAUSE_S)
        _log.warning("mail server is away", reason=str(failure), waiting=len(unsent), pause_s=self._pause_s)

    async def _give_back(self, unsent: list[WaitingMail]) -> None:
        now_ms = self._clock.now_ms()
        for one in unsent:
            await self._database.write(outgoing_mail.postpone, one.nid, one.attempts + 1, now_ms)

    def _message(self, content: dict[str, Any]) -> EmailMessage:
        message = EmailMessage()
        message["From"] = self._settings.from_address
        message["To"] = content["recipient"]
        message["Subject"] = content["subject"]
        message["Date"] = format_datetime(datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC))
        message["Message-ID"] = f"<{self._randomness.token(18)}@{self._server_name.partition(':')[0]}>"
        message["Auto-Submitted"] = "auto-generated"
        for name, value in content["headers"].items():
            message[name] = value
        message.set_content(content["text"])
        message.add_alternative(content["html"], subtype="html")
        return message
