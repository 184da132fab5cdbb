"""What a client asks of `/sync`, and what the parts of the answer have in common.

Spec: client-server-api #syncing
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from homeserver.protocol.sync_filters import Filter
from homeserver.services.rooms.client_events import Reader
from homeserver.services.sync.hub import Watched
from homeserver.services.tokens import SyncToken


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """A client's request. `since` is None for an initial sync."""

    user_id: str
    device_id: str | None
    since: SyncToken | None
    filter: Filter
    timeout_ms: int = 0
    full_state: bool = False
    set_presence: str = "online"
    use_state_after: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """The stretch of the log that one answer covers, and for whom.

    `after` is 0 for an initial sync. Rooms are told whole when `initial` or `full_state`.
    """

    request: SyncRequest
    reader: Reader
    watched: Watched
    after: int
    up_to: int
    ephemeral_after: int
    ephemeral: int

    @property
    def initial(self) -> bool:
        return self.request.since is None

    @property
    def whole(self) -> bool:
        return self.initial or self.request.full_state


@dataclass(frozen=True, slots=True)
class KeyCounts:
    """How many one-time keys a device has left, and for which algorithms its fallback key is unused."""

    one_time: dict[str, int] = field(default_factory=dict)
    unused_fallback: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ToDevice:
    """Messages for a device, as JSON; `up_to` is the position of the last of them."""

    events: list[Any]
    up_to: int
    more: bool = False


class DeviceNews(Protocol):
    """What end-to-end encryption adds to a sync."""

    async def to_device(self, user_id: str, device_id: str, after: int, up_to: int) -> ToDevice:
        """Messages after a position; those up to `after` have arrived and may go."""

    async def changed_device_lists(self, user_id: str, after: int, up_to: int) -> set[str]:
        """Users, sharing a room with this one, whose devices or keys changed in between."""

    async def key_counts(self, user_id: str, device_id: str) -> KeyCounts:
        """What is left of a device's one-time and fallback keys."""


class UserNews(Protocol):
    """What a user's own settings add to a sync."""

    async def global_account_data(self, user_id: str, after: int) -> list[tuple[str, bytes]]:
        """Account data changed after a position, push rules included: type and content."""

    async def room_account_data(self, user_id: str, after: int) -> dict[str, list[tuple[str, bytes]]]:
        """Account data of rooms changed after a position, by room."""

    async def account_data_of_rooms(self, user_id: str, room_ids: Sequence[str]) -> dict[str, list[tuple[str, bytes]]]:
        """All account data of some rooms, by room."""

    async def ignored_users(self, user_id: str) -> frozenset[str]:
        """Whom the user does not want to hear."""


class PresenceNews(Protocol):
    """What presence adds to a sync."""

    async def changes(self, user_id: str, after: int) -> list[dict[str, Any]]:
        """m.presence events of those the user knows, changed after a value of the ephemeral counter."""

    def seen_syncing(self, user_id: str, presence: str, timeout_ms: int) -> None:
        """A client of this user is there, with the presence it asks for, and will wait so long for an answer."""
