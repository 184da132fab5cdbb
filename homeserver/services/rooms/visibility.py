"""Which events of a room a user may see.

Spec: client-server-api #room-history-visibility
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from homeserver.protocol.errors import forbidden
from homeserver.protocol.events import StateKey
from homeserver.protocol.history_visibility import can_see, history_visibility_of
from homeserver.runtime.bounded_cache import BoundedCache
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import MEMBER, Room, Rooms
from homeserver.services.rooms.state_groups import StateGroups
from homeserver.storage.changes import Change
from homeserver.storage.database import Database
from homeserver.storage.events import StoredEvent
from homeserver.storage.memberships import find_membership, load_users_sharing_among
from homeserver.storage.room_history import load_joins, load_visibilities
from homeserver.storage.room_log import Appended

HISTORY_VISIBILITY: StateKey = ("m.room.history_visibility", "")
_OPEN = frozenset({"shared", "world_readable"})
_REMEMBERED_ROOMS = 10_000


@dataclass(frozen=True, slots=True)
class Viewer:
    """How a user stands to a room. `left_at` is the position of the event that ended their membership."""

    user_id: str
    membership: str
    left_at: int | None = None
    joins: tuple[int, ...] = ()


class Visibility:
    """Answers "may this user see that?" for reads of every kind."""

    def __init__(self, database: Database, rooms: Rooms, events: EventStore, groups: StateGroups) -> None:
        self._database = database
        self._rooms = rooms
        self._events = events
        self._groups = groups
        # Whether a room's history was always open to its members: then members need no look-up for each event.
        self._always_open: BoundedCache[str, bool] = BoundedCache("visibility", _REMEMBERED_ROOMS)

    async def viewer(self, user_id: str, room: Room, *, or_world_readable: bool = False) -> Viewer:
        """How a user stands to a room.

        Raises M_FORBIDDEN for one who never was a member, unless `or_world_readable` and the room is just that.
        """
        viewer = await self.find_viewer(user_id, room)
        if viewer is not None:
            return viewer
        if or_world_readable and await self.is_world_readable(room):
            return Viewer(user_id, "leave")
        raise forbidden("You are not in this room.")

    async def find_viewer(self, user_id: str, room: Room) -> Viewer | None:
        """How a user stands to a room they are or were joined to; None for all others, and when they forgot it."""
        if room.local_members.get(user_id) == "join":
            return Viewer(user_id, "join")
        found = await self._database.read(find_membership, room.room_id, user_id)
        if found is None or found.forgotten:
            return None
        joins = await self.joins(room.room_id, user_id)
        left_at = found.position if found.membership in {"leave", "ban"} else joins[-1] if joins else None
        return Viewer(user_id, found.membership, left_at, tuple(joins)) if joins else None

    async def joins(self, room_id: str, user_id: str) -> list[int]:
        """The positions at which a user came into a room, oldest first."""
        return await self._database.read(load_joins, room_id, user_id)

    async def membership_event(self, event_id: str) -> str | None:
        """What a member event says."""
        stored = await self._events.find(event_id)
        return stored.event.membership if stored is not None else None

    async def sharing_rooms(self, user_id: str, others: Collection[str]) -> set[str]:
        """Those of `others` who share a room with the user."""
        return await self._database.read(load_users_sharing_among, user_id, others)

    async def is_world_readable(self, room: Room) -> bool:
        """Whether anybody may read the room now."""
        state = await self._events.get_state(room.state, [HISTORY_VISIBILITY])
        event = state.get(HISTORY_VISIBILITY)
        return history_visibility_of(event.content if event else None) == "world_readable"

    async def visible(self, viewer: Viewer, room: Room, events: Sequence[StoredEvent]) -> list[StoredEvent]:
        """Those of `events` that the viewer may see, in the same order."""
        if viewer.membership == "join" and await self._was_always_open(room.room_id):
            return list(events)
        return [stored for stored in events if await self.may_see(viewer, stored)]

    async def may_see(self, viewer: Viewer, stored: StoredEvent) -> bool:
        """Whether the viewer may see one event."""
        own: StateKey = (MEMBER, viewer.user_id)
        before = await self._groups.find(stored.state_before, [HISTORY_VISIBILITY, own])
        after = dict(before)
        event = stored.event
        if event.state_key is not None and event.key in {HISTORY_VISIBILITY, own}:
            after[event.key] = event.event_id
        ids = {*before.values(), *after.values()}
        found = await self._events.get_many(ids)

        def visibility(state: dict[StateKey, str]) -> str:
            stored_event = found.get(state.get(HISTORY_VISIBILITY, ""))
            return history_visibility_of(stored_event.event.content if stored_event else None)

        def membership(state: dict[StateKey, str]) -> str | None:
            stored_event = found.get(state.get(own, ""))
            return stored_event.event.membership if stored_event else None

        position = stored.position
        return can_see(
            (visibility(before), visibility(after)),
            (membership(before), membership(after)),
            current_membership=viewer.membership,
            joined_since=position is not None and any(join > position for join in viewer.joins),
        )

    def follow(self, changes: Sequence[Change]) -> None:
        """Forget what changed."""
        for change in changes:
            if isinstance(change.detail, Appended):
                if HISTORY_VISIBILITY in change.detail.state_changes:
                    self._always_open.drop(change.detail.room_id)
            elif change.subject == "event" and change.room_id is not None:
                self._always_open.drop(change.room_id)

    def forget_all(self) -> None:
        """Nobody knows what changed."""
        self._always_open.clear()

    async def _was_always_open(self, room_id: str) -> bool:
        known = self._always_open.find(room_id)
        if known is None:
            values = await self._database.read(load_visibilities, room_id)
            known = _OPEN.issuperset(history_visibility_of(content) for content in values)
            self._always_open.put(room_id, known)
        return known
