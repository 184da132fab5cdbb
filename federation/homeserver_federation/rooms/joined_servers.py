"""Which servers are in a room: those of its joined members.

Counted once for each state of a room, and only for rooms that somebody asks about.
"""

from __future__ import annotations

from sqlalchemy import Connection

from homeserver.protocol.identifiers import server_name_of
from homeserver.runtime.bounded_cache import BoundedCache
from homeserver.services.rooms.room import Room
from homeserver.storage.database import Database
from homeserver.storage.memberships import load_joined_members

_REMEMBERED_ROOMS = 10_000


class JoinedServers:
    """The servers in each room, with how many members each has there."""

    def __init__(self, database: Database, server_name: str) -> None:
        self._database = database
        self._server_name = server_name
        self._cache: BoundedCache[str, tuple[int | None, dict[str, int]]] = BoundedCache(
            "joined_servers", _REMEMBERED_ROOMS
        )

    async def of(self, room: Room) -> dict[str, int]:
        """The servers of a room's joined members, ours among them, with their number of members there."""
        known = self._cache.find(room.room_id)
        if known is not None and known[0] == room.state_group:
            return known[1]
        group = room.state_group
        servers = await self._database.read(_load, room.room_id)
        self._cache.put(room.room_id, (group, servers))
        return servers

    async def others(self, room: Room, most: int, *, first: str | None = None) -> list[str]:
        """Up to `most` other servers in a room: `first`, if given, then those with most members."""
        servers = await self.of(room)
        others = sorted((name for name in servers if name != self._server_name), key=lambda name: -servers[name])
        if first is not None:
            others = [first, *(name for name in others if name != first)]
        return others[:most]


def is_resident(room: Room) -> bool:
    """Whether this server takes part in a room: some local user is joined to it."""
    return "join" in room.local_members.values()


def _load(connection: Connection, room_id: str) -> dict[str, int]:
    servers: dict[str, int] = {}
    for member in load_joined_members(connection, room_id):
        name = server_name_of(member.user_id)
        servers[name] = servers.get(name, 0) + 1
    return servers
