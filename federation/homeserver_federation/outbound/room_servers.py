"""Which servers are in a room, now or when an event was sent.

The servers of today are kept in memory; those of an event are looked up only where memberships changed since.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from homeserver.protocol.identifiers import server_name_of
from homeserver.services.loading_cache import LoadingCache
from homeserver.storage.memberships import load_memberships
from homeserver.storage.outbound_events import load_joined_users
from homeserver.storage.room_log import Appended

if TYPE_CHECKING:
    from homeserver.services.rooms.event_store import EventStore
    from homeserver.services.rooms.state_groups import StateGroups
    from homeserver.storage.changes import Change
    from homeserver.storage.database import Database
    from homeserver.storage.events import StoredEvent

_MEMBER = "m.room.member"
_MOST_SERVERS_IN_MEMORY = 500_000
_GONE = ("leave", "ban")


@dataclass(frozen=True, slots=True)
class _Joined:
    servers: frozenset[str]
    changed_at: int


class RoomServers:
    """Wire `follow` to the database's commits."""

    def __init__(self, database: Database, events: EventStore, groups: StateGroups) -> None:
        self._database = database
        self._events = events
        self._groups = groups
        self._rooms: LoadingCache[str, _Joined] = LoadingCache(
            "room_servers", _MOST_SERVERS_IN_MEMORY, lambda joined: 1 + len(joined.servers)
        )

    def follow(self, changes: Iterable[Change]) -> None:
        """Forget the servers of rooms whose members changed."""
        for change in changes:
            appended = change.detail
            if change.subject != "event" or change.room_id is None:
                continue
            if not isinstance(appended, Appended) or any(kind == _MEMBER for kind, _ in appended.state_changes):
                self._rooms.drop(change.room_id)

    def forget_all(self) -> None:
        """Nobody knows what changed."""
        self._rooms.clear()

    async def joined(self, room_id: str) -> frozenset[str]:
        """The servers that have a user in the room now, ours included."""
        return (await self._load(room_id)).servers

    async def sharing_rooms_with(self, user_id: str, *, but_for: str | None = None) -> set[str]:
        """The servers in the rooms a user is in; `but_for` is a room not to be counted."""
        memberships = await self._database.read(load_memberships, user_id)
        servers: set[str] = set()
        for membership in memberships:
            if membership.membership == "join" and membership.room_id != but_for:
                servers |= await self.joined(membership.room_id)
        return servers

    async def at_event(self, stored: StoredEvent) -> frozenset[str]:
        """The servers in the room before or after an event; and the server of a user whom it puts out of the room."""
        joined = await self._load(stored.event.room_id)
        servers = joined.servers
        if stored.position is None or joined.changed_at > stored.position:
            servers = await self._joined_in(stored.state_before) | await self._joined_in(stored.state_after)
        event = stored.event
        if event.membership in _GONE and event.state_key is not None:
            return servers | {server_name_of(event.state_key)}
        return servers

    async def _load(self, room_id: str) -> _Joined:
        async def load() -> _Joined:
            found = await self._database.read(load_joined_users, room_id)
            return _Joined(frozenset(map(server_name_of, found.user_ids)), found.changed_at)

        return await self._rooms.get(room_id, load)

    async def _joined_in(self, group: int | None) -> frozenset[str]:
        if group is None:
            return frozenset()
        state = await self._groups.load(group)
        member_ids = [event_id for (kind, _), event_id in state.items() if kind == _MEMBER]
        members = await self._events.get_many(member_ids)
        return frozenset(
            server_name_of(stored.event.state_key or "")
            for stored in members.values()
            if stored.event.membership == "join"
        )
