"""The room's state at any event, looked up key by key along the chain of deltas.

Whole states are put together only where somebody asks for a whole state.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from homeserver.protocol.events import StateKey
from homeserver.runtime.bounded_cache import BoundedCache
from homeserver.storage.database import Database
from homeserver.storage.room_state import GroupLink, StateMap, find_group_at, load_chain, load_state

_BYTES_OF_AN_ENTRY = 300


class StateGroups:
    """At most `cache_bytes` of deltas in memory."""

    def __init__(self, database: Database, cache_bytes: int) -> None:
        self._database = database
        self.cache: BoundedCache[int, GroupLink] = BoundedCache(
            "state_groups", cache_bytes, lambda link: _BYTES_OF_AN_ENTRY * (1 + len(link.changes))
        )

    async def find(self, group: int | None, keys: Iterable[StateKey]) -> dict[StateKey, str]:
        """The ids of the events that hold `keys` in a group; keys without an entry are left out."""
        wanted = set(keys)
        found: dict[StateKey, str] = {}
        while group is not None and wanted:
            link = self.cache.find(group)
            if link is None:
                link = await self._load(group)
            for key in wanted & link.changes.keys():
                wanted.discard(key)
                event_id = link.changes[key]
                if event_id is not None:
                    found[key] = event_id
            group = link.previous
        return found

    async def load(self, group: int | None) -> StateMap:
        """The whole state of a group."""
        return await self._database.read(load_state, group)

    async def load_at(self, room_id: str, position: int) -> StateMap:
        """The room's current state as it was when the log stood at `position`."""
        return await self._database.read(_load_at, room_id, position)

    async def find_at(self, room_id: str, position: int) -> int | None:
        """The group that was the room's current state when the log stood at `position`."""
        return await self._database.read(find_group_at, room_id, position)

    async def _load(self, group: int) -> GroupLink:
        chain = await self._database.read(load_chain, group)
        for link in chain:
            self.cache.put(link.nid, link)
        return chain[0]


def _load_at(connection: Connection, room_id: str, position: int) -> StateMap:
    return load_state(connection, find_group_at(connection, room_id, position))
