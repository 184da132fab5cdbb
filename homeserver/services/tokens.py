"""The two kinds of token clients hold: a position of the whole log, and a place in one room's timeline.

Tokens are opaque to clients; they survive restarts and mean the same in every process.
"""

from __future__ import annotations

from typing import NamedTuple

from homeserver.protocol.errors import invalid_param
from homeserver.storage.events import Place


class SyncToken(NamedTuple):
    """How much a client has seen: everything up to `position`, and what is not durable up to `ephemeral`."""

    position: int
    ephemeral: int = 0

    def __str__(self) -> str:
        return f"s{self.position}_{self.ephemeral}"


def parse_sync_token(text: str) -> SyncToken:
    """Raises M_INVALID_PARAM."""
    numbers = _numbers(text[1:]) if text.startswith("s") else None
    if numbers is None:
        raise invalid_param("This is not a token of /sync.")
    return SyncToken(*numbers)


def timeline_token(place: Place) -> str:
    """The token for a place in a room's timeline."""
    return f"t{place.depth}_{place.position}"


def parse_timeline_token(text: str) -> Place | SyncToken:
    """A place in a room's timeline, or a position of the log where the token came from /sync. M_INVALID_PARAM."""
    numbers = _numbers(text[1:])
    if numbers is None or text[0] not in "st":
        raise invalid_param("This token did not come from this server.")
    return Place(*numbers) if text[0] == "t" else SyncToken(*numbers)


def _numbers(text: str) -> tuple[int, int] | None:
    first, separator, second = text.partition("_")
    if not separator or len(text) > 60:
        return None
    digits = (first.removeprefix("-"), second.removeprefix("-"))
    if not all(part.isascii() and part.isdigit() and len(part) <= 19 for part in digits):
        return None
    return int(first), int(second)
