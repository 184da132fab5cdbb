"""What a client asks of sliding sync, whichever dialect it speaks, and what the parts of an answer have in common.

Spec: MSC4186, "Request Body"
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from homeserver.services.rooms.client_events import Reader
from homeserver.services.sliding_sync.connections import Connection
from homeserver.services.sliding_sync.required_state import RequiredState
from homeserver.services.sync.hub import Watched


class RoomConfig(NamedTuple):
    """How much of a room to tell."""

    timeline_limit: int
    required_state: RequiredState


class ListFilter(NamedTuple):
    """Which of the user's rooms belong to a list. None excludes nothing."""

    is_dm: bool | None = None
    spaces: frozenset[str] | None = None
    is_encrypted: bool | None = None
    is_invited: bool | None = None
    room_types: frozenset[str | None] | None = None
    not_room_types: frozenset[str | None] = frozenset()
    tags: frozenset[str] | None = None
    not_tags: frozenset[str] = frozenset()


class ListRequest(NamedTuple):
    """A list. `ranges` are inclusive; None for the whole list."""

    config: RoomConfig
    filter: ListFilter
    ranges: tuple[tuple[int, int], ...] | None


class RoomExtension(NamedTuple):
    """An extension about rooms: those of which lists, and which subscribed ones. None for all."""

    lists: frozenset[str] | None = None
    rooms: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Extensions:
    """The extensions that are enabled. `to_device_since` is the client's own token for its messages."""

    to_device: bool = False
    to_device_since: int = 0
    e2ee: bool = False
    account_data: RoomExtension | None = None
    receipts: RoomExtension | None = None
    typing: RoomExtension | None = None

    @property
    def about_rooms(self) -> frozenset[str]:
        """The names of those that tell of rooms."""
        found = {"account_data": self.account_data, "receipts": self.receipts, "typing": self.typing}
        return frozenset(name for name, extension in found.items() if extension is not None)


@dataclass(frozen=True, slots=True)
class SlidingRequest:
    """A client's request. `pos` is None on a new connection."""

    user_id: str
    device_id: str | None
    name: str
    pos: str | None
    lists: Mapping[str, ListRequest]
    subscriptions: Mapping[str, RoomConfig]
    extensions: Extensions
    timeout_ms: int = 0
    set_presence: str = "online"
    wants_counts: bool = True


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer under way: the stretch of the log it covers, and for whom. `after` is 0 on a new connection."""

    request: SlidingRequest
    reader: Reader
    watched: Watched
    connection: Connection
    after: int
    up_to: int
    ephemeral_after: int
    ephemeral: int

    @property
    def initial(self) -> bool:
        return self.request.pos is None


@dataclass(slots=True)
class SlidingAnswer:
    """An answer before it is put into a dialect."""

    pos: str
    lists: dict[str, int] = field(default_factory=dict)
    rooms: dict[str, dict[str, Any]] = field(default_factory=dict)
    extensions: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class ToldRooms:
    """What the extensions go by: where news begin for each room that they may tell of, and the events shown of it.

    A room whose news begin at 0 is new to the client.
    """

    since: dict[str, int] = field(default_factory=dict)
    shown_events: dict[str, Sequence[str]] = field(default_factory=dict)

    def new_rooms(self, scope: Container[str]) -> list[str]:
        """The rooms in `scope` that are new to the client."""
        return [room_id for room_id, since in self.since.items() if since == 0 and room_id in scope]
