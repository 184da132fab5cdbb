"""A mail server on loopback that keeps what it gets and goes away and comes back as the test wants; and its letters.

It is aiosmtpd, which shares no code with the client under test.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlsplit

from aiosmtpd.smtp import SMTP, Envelope, Session

_LINK = re.compile(r"https?://\S+/_starling/\S+")
_CODE = re.compile(r"code: (\S+)")


@dataclass(frozen=True)
class Letter:
    """One message as it arrived."""

    recipient: str
    message: EmailMessage

    @property
    def subject(self) -> str:
        return str(self.message["Subject"])

    def _part(self, kind: str) -> str:
        part = self.message.get_body((kind,))
        assert isinstance(part, EmailMessage)
        return str(part.get_content()).replace("\r\n", "\n")

    @property
    def text(self) -> str:
        return self._part("plain")

    @property
    def html(self) -> str:
        return self._part("html")

    @property
    def link(self) -> str:
        """The path and query of the first link to the server."""
        found = _LINK.search(self.text)
        assert found is not None, self.text
        parts = urlsplit(found[0])
        return f"{parts.path}?{parts.query}"

    @property
    def code(self) -> str:
        found = _CODE.search(self.text)
        assert found is not None, self.text
        return found[1]


@dataclass
class MailServer:
    """`answers` are given to the next recipients instead of an acceptance; `wrapped` encrypts from the first byte."""

    port: int = 0
    letters: list[Letter] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    smtp_options: dict[str, Any] = field(default_factory=dict)
    wrapped: ssl.SSLContext | None = None
    _server: asyncio.Server | None = None
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def up(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: SMTP(self, enable_SMTPUTF8=True, **self.smtp_options), "127.0.0.1", self.port, ssl=self.wrapped
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    def settings(self, **changes: Any) -> dict[str, Any]:
        return {
            "enabled": True,
            "host": "127.0.0.1",
            "port": self.port,
            "tls": "none",
            "from_address": "Starling <noreply@example.org>",
            "app_name": "Birdhouse",
            **changes,
        }

    async def next_to(self, recipient: str, count: int = 1) -> Letter:
        """The `count`th letter to somebody, once it is here."""

        def arrived() -> list[Letter]:
            return [letter for letter in self.letters if letter.recipient == recipient]

        async with asyncio.timeout(10), self._arrived:
            await self._arrived.wait_for(lambda: len(arrived()) >= count)
        return arrived()[count - 1]

    async def handle_RCPT(  # noqa: N802 (aiosmtpd's name)
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.answers:
            return self.answers.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        message = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        async with self._arrived:
            self.letters.extend(Letter(recipient, message) for recipient in envelope.rcpt_tos)
            self._arrived.notify_all()
        return "250 OK"
