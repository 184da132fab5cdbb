"""The two kinds of token clients hold: a position of the whole log, and a place in one room's timeline.

Tokens are opaque to clients; they survive restarts and mean the same in every process.
"""

from __future__ import annotations

from typing import NamedTuple

from homeserver.protocol.errors import invalid_param
from homeserver.storage.events import Place


class SyncToken(NamedTuple):
    """How much a client has seen: the log up to `position`, and what is not durable up to `ephemeral`.

    `to_device` is the position up to which its device has been given messages: many wait for more than one answer.
    """

    position: int
    ephemeral: int = 0
    to_device: int = 0

    def __str__(self) -> str:
        return f"s{self.position}_{self.ephemeral}_{self.to_device}"


class ConnectionToken(NamedTuple):
    """How much the client of a sliding sync connection has: the log as in `SyncToken`, and the connection's steps."""

    position: int
    ephemeral: int
    connection: int
    step: int

    def __str__(self) -> str:
        return f"l{self.position}_{self.ephemeral}_{self.connection}_{self.step}"


def find_connection_token(text: str) -> ConnectionToken | None:
    """The token that `text` is; None when it is none."""
    numbers = _numbers(text[1:])
    return ConnectionToken(*numbers) if text.startswith("l") and len(numbers) == 4 else None


def parse_sync_token(text: str) -> SyncToken:
    """Raises M_INVALID_PARAM."""
    numbers = _numbers(text[1:])
    if not text.startswith("s") or len(numbers) != 3:
        raise invalid_param("This is not a token of /sync.")
    return SyncToken(*numbers)


def timeline_token(place: Place) -> str:
    """The token for a place in a room's timeline."""
    return f"t{place.depth}_{place.position}"


def parse_timeline_token(text: str) -> Place | SyncToken:
    """A place in a room's timeline, or a position of the log where the token came from /sync. M_INVALID_PARAM."""
    numbers = _numbers(text[1:])
    if text.startswith("t") and len(numbers) == 2:
        return Place(*numbers)
    if text.startswith("s") and len(numbers) == 3:
        return SyncToken(*numbers)
    connection = find_connection_token(text)
    if connection is not None:
        return SyncToken(connection.position, connection.ephemeral)
    raise invalid_param("This token did not come from this server.")


def _numbers(text: str) -> list[int]:
    """The numbers between underscores; none when the text is anything else."""
    parts = text.split("_") if len(text) <= 80 else []
    digits = [part.removeprefix("-") for part in parts]
    if not all(part.isascii() and part.isdigit() and len(part) <= 19 for part in digits):
        return []
    return [int(part) for part in parts]
