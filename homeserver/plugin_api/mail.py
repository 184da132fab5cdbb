"""What plugins see of e-mail: messages by template, queued in the server's database until the mail server has them.
Templates are the server's, and the operator's where they have replaced one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class MailPart(Protocol):
    """A rendered piece of a message, to be handed in as a value."""

    @property
    def text(self) -> str: ...
    @property
    def html(self) -> str: ...


class MailAccess(Protocol):
    """Sends e-mail."""

    @property
    def enabled(self) -> bool:
        """Whether this server sends e-mail at all; if not, `part` and `send` raise M_UNKNOWN."""

    def part(self, template: str, values: Mapping[str, str | Sequence[MailPart]]) -> MailPart:
        """Render a piece of a message. Values are plain text; they are escaped where that is needed."""

    async def send(
        self,
        recipient: str,
        template: str,
        values: Mapping[str, str | Sequence[MailPart]],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Queue a message. M_UNKNOWN when the queue is full."""
