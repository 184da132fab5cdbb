"""A room in memory: where its event graph ends, its current state, our members, and its newest events.

Loaded once, then kept up to date by the commits of this process; the revision tells when another process was faster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import Connection

from homeserver.protocol.errors import MatrixError, not_found
from homeserver.protocol.identifiers import server_name_of
from homeserver.protocol.receipt import Standing
from homeserver.protocol.room_versions import RoomVersion, get_room_version
from homeserver.runtime.bounded_cache import BoundedCache
from homeserver.storage.changes import Change
from homeserver.storage.database import Database
from homeserver.storage.memberships import load_local_members
from homeserver.storage.room_lists import BUMPING
from homeserver.storage.room_log import Appended, Extremity, RoomHandle
from homeserver.storage.room_state import StateMap, apply_changes, load_state
from homeserver.storage.room_summaries import MemberCounts, load_member_counts
from homeserver.storage.rooms import find_room

if TYPE_CHECKING:
    from homeserver.storage.events import StoredEvent

_TAIL_LENGTH = 100
_BYTES_OF_A_STATE_ENTRY = 320
_BYTES_OF_A_ROOM = 4_000
_ANY_REVISION = 2**62
_BYTES_OF_AN_EVENT = 1_500

MEMBER = "m.room.member"


class Room:
    """One room. `tail` holds every visible event with a position above `tail_after`, oldest first.

    `lock` serialises writers within this process; across processes the revision does.
    """

    __slots__ = (
        "bumped_at",
        "extremities",
        "heroes",
        "latest_position",
        "local_members",
        "lock",
        "longest_tail",
        "members",
        "resolved_at",
        "revision",
        "room_id",
        "row_nid",
        "server_name",
        "state",
        "state_group",
        "tail",
        "tail_after",
        "version",
        "waiting",
        "writer",
    )

    def __init__(
        self,
        room_id: str,
        version: RoomVersion,
        *,
        row_nid: int,
        revision: int,
        extremities: tuple[Extremity, ...],
        state_group: int | None,
        state: StateMap,
        latest_position: int,
        local_members: dict[str, str],
        members: MemberCounts,
        server_name: str,
    ) -> None:
        self.room_id = room_id
        self.version = version
        self.lock = asyncio.Lock()
        # Requests to write that wait for the lock, and the task that will write them.
        self.waiting: list[Any] = []
        self.writer: asyncio.Task[None] | None = None
        self.row_nid = row_nid
        self.revision = revision
        self.extremities = extremities
        self.state_group = state_group
        self.state = state
        self.latest_position = latest_position
        self.local_members = local_members
        self.members = members
        # Candidates for the room's heroes; None until somebody asks.
        self.heroes: list[str] | None = None
        # The position of the newest event that counts as activity for people; None until somebody asks.
        self.bumped_at: int | None = None
        # Where state last changed by more than the events of the timeline: by resolving a fork.
        self.resolved_at = 0
        self.server_name = server_name
        self.tail: list[StoredEvent] = []
        self.longest_tail = 0
        self.tail_after = latest_position

    def state_id(self, event_type: str, state_key: str = "") -> str | None:
        """The id of the event that holds an entry of the current state."""
        return self.state.get((event_type, state_key))

    def apply(self, appended: Appended) -> None:
        """Take over what a commit made of the room."""
        self.revision = appended.revision
        self.extremities = appended.extremities
        self.state_group = appended.state_group
        self.latest_position = appended.events[-1].position or self.latest_position
        if appended.state_changes:
            # A new dict: readers that hold the old one go on with the state they began with.
            self.state = dict(self.state)
            apply_changes(self.state, appended.state_changes)
            self._follow_members(appended)
            self._note_resolution(appended)
        if appended.members is not None:
            self.members = appended.members
            self.heroes = None
        fresh = [stored for stored in appended.events if stored.standing is Standing.ACCEPTED]
        self.tail.extend(fresh)
        self.longest_tail = max(self.longest_tail, len(self.tail))
        if self.bumped_at is not None:
            bumps = [stored.position or 0 for stored in fresh if stored.event.type in BUMPING]
            self.bumped_at = max(self.bumped_at, *bumps, 0)
        if len(self.tail) > 2 * _TAIL_LENGTH:
            gone = self.tail[-_TAIL_LENGTH - 1]
            self.tail_after = gone.position or self.tail_after
            del self.tail[:-_TAIL_LENGTH]

    def newest(self, after: int, up_to: int, limit: int) -> list[StoredEvent] | None:
        """The newest `limit` events with `after` < position <= `up_to`, oldest first; None when memory has not all."""
        found: list[StoredEvent] = []
        for stored in reversed(self.tail):
            position = stored.position or 0
            if position <= after or len(found) == limit:
                break
            if position <= up_to:
                found.append(stored)
        if after < self.tail_after and len(found) < limit:
            return None
        found.reverse()
        return found

    def followed_since(self, after: int) -> bool:
        """Whether all that happened to the state after a position is that the events after it took effect."""
        return self.tail_after <= after and self.resolved_at <= after

    @property
    def handle(self) -> RoomHandle:
        """What the log needs to know to extend this room."""
        return RoomHandle(self.row_nid, self.state_group)

    @property
    def joined_count(self) -> int:
        """How many members are joined, by the room's summary."""
        return self.members.joined

    @property
    def has_name(self) -> bool:
        """Whether clients can call the room something without listing its members."""
        return ("m.room.name", "") in self.state or ("m.room.canonical_alias", "") in self.state

    @property
    def size(self) -> int:
        """Roughly the bytes of memory this takes."""
        return _BYTES_OF_A_ROOM + len(self.state) * _BYTES_OF_A_STATE_ENTRY + self.longest_tail * _BYTES_OF_AN_EVENT

    def _note_resolution(self, appended: Appended) -> None:
        own = {stored.event_id for stored in appended.events}
        if any(event_id not in own for event_id in appended.state_changes.values()):
            self.resolved_at = self.latest_position

    def _follow_members(self, appended: Appended) -> None:
        by_id = {stored.event_id: stored.event for stored in appended.events}
        for (event_type, user_id), event_id in appended.state_changes.items():
            if event_type != MEMBER or server_name_of(user_id) != self.server_name:
                continue
            event = by_id.get(event_id) if event_id is not None else None
            membership = event.membership if event is not None else None
            if membership in {"join", "invite", "knock"}:
                self.local_members = {**self.local_members, user_id: membership}
            elif user_id in self.local_members:
                self.local_members = {name: kind for name, kind in self.local_members.items() if name != user_id}


class Rooms:
    """The rooms in memory, at most `cache_bytes` of them."""

    def __init__(self, database: Database, server_name: str, cache_bytes: int) -> None:
        self._database = database
        self._server_name = server_name
        self.cache: BoundedCache[str, Room] = BoundedCache("rooms", cache_bytes, lambda room: room.size)
        self._loading: dict[str, asyncio.Task[Room | None]] = {}
        # Rooms that were committed to while they were being read: their newest revision.
        self._overtaken: dict[str, int] = {}

    async def find(self, room_id: str) -> Room | None:
        """The room, or None when this server does not know it."""
        room = self.cache.find(room_id)
        if room is not None:
            return room
        task = self._loading.get(room_id)
        if task is None:
            task = asyncio.create_task(self._load(room_id))
            self._loading[room_id] = task
            task.add_done_callback(lambda _: self._loading.pop(room_id, None))
        return await asyncio.shield(task)

    async def get(self, room_id: str) -> Room:
        """The room. Raises M_NOT_FOUND for one that this server does not know."""
        room = await self.find(room_id)
        if room is None:
            raise unknown_room()
        return room

    def in_memory(self, room_id: str) -> Room | None:
        """The room if it is in memory already."""
        return self.cache.find(room_id)

    def drop(self, room_id: str) -> None:
        """Forget what memory holds of a room, because another process changed it."""
        self.cache.drop(room_id)
        if room_id in self._loading:
            # Read it once more: what is being read may be from before.
            self._overtaken[room_id] = _ANY_REVISION

    def follow(self, changes: Sequence[Change]) -> None:
        """Bring rooms in memory up to what was just committed."""
        for change in changes:
            if not isinstance(change.detail, Appended):
                if change.subject == "event" and change.room_id is not None:
                    self.drop(change.room_id)
                continue
            room = self.cache.find(change.detail.room_id)
            if room is None:
                if change.detail.room_id in self._loading:
                    newest = max(change.detail.revision, self._overtaken.get(change.detail.room_id, 0))
                    self._overtaken[change.detail.room_id] = newest
            elif change.detail.adopted:
                self.cache.drop(room.room_id)
            elif room.revision + 1 == change.detail.revision:
                size = room.size
                room.apply(change.detail)
                self.cache.charge(room.size - size)
            elif room.revision < change.detail.revision:
                self.cache.drop(room.room_id)

    async def _load(self, room_id: str) -> Room | None:
        room = await self._database.read(_load_room, room_id, self._server_name)
        while room is not None and room.revision < self._overtaken.pop(room_id, 0):
            room = await self._database.read(_load_room, room_id, self._server_name)
        if room is not None:
            self.cache.put(room_id, room)
        return room


def unknown_room() -> MatrixError:
    """The answer to a room id nobody here has heard of."""
    return not_found("This server does not know this room.")


def _load_room(connection: Connection, room_id: str, server_name: str) -> Room | None:
    row = find_room(connection, room_id)
    if row is None:
        return None
    return Room(
        room_id,
        get_room_version(row.version),
        row_nid=row.room_nid,
        revision=row.revision,
        extremities=tuple(Extremity(*extremity) for extremity in orjson.loads(row.forward_extremities)),
        state_group=row.state_group,
        state=load_state(connection, row.state_group),
        latest_position=row.latest_position,
        local_members=load_local_members(connection, room_id),
        members=load_member_counts(connection, room_id),
        server_name=server_name,
    )
