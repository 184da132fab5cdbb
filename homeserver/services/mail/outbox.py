"""The way in for e-mail: renders a message and queues it, alone or with whatever it belongs to.

The queue is bounded: when it is full, whoever wants to send one is told to come back later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from homeserver.protocol.errors import unknown
from homeserver.storage import outgoing_mail

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.services.mail.templates import MailTemplates, Value
    from homeserver.storage.database import Database, Transaction
    from homeserver_config.sections.email import EmailSettings


@dataclass(frozen=True, slots=True)
class Mail:
    """One message. `headers` are further ones, e.g. `List-Unsubscribe`."""

    recipient: str
    subject: str
    text: str
    html: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "recipient": self.recipient,
            "subject": self.subject,
            "text": self.text,
            "html": self.html,
            "headers": dict(self.headers),
        }


class Outbox:
    """`on_queued` is called when a message was committed."""

    def __init__(self, settings: EmailSettings, database: Database, clock: Clock, templates: MailTemplates) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self.templates = templates
        self.on_queued: Callable[[], None] = _nobody_waits

    def make(
        self, recipient: str, template: str, values: Mapping[str, Value], headers: Mapping[str, str] | None = None
    ) -> Mail:
        """A message by its template."""
        rendered = self.templates.render(template, values)
        return Mail(recipient, rendered.subject, rendered.text, rendered.html, headers or {})

    def write(self, tx: Transaction, mail: Mail, expires_ms: int | None = None) -> None:
        """Queue a message in a transaction; call `queued` once it is committed. M_UNKNOWN when the queue is full.

        `expires_ms`: after that it is not worth sending.
        """
        now_ms = self._clock.now_ms()
        until = now_ms + self._settings.give_up_after
        if expires_ms is not None:
            until = min(until, expires_ms)
        if not outgoing_mail.queue_mail(tx, mail.as_json(), now_ms, until, self._settings.queue_limit):
            raise unknown("Too many messages are waiting to be sent. Try again later.", 503)

    def queued(self) -> None:
        """Wake the worker."""
        self.on_queued()

    async def send(self, mail: Mail) -> None:
        """Queue a message by itself. M_UNKNOWN when the queue is full."""
        await self._database.write(self.write, mail)
        self.queued()


def _nobody_waits() -> None:
    """Until the worker runs."""
