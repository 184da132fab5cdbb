"""One lock for each room that something is being done about; rooms at rest take no memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class RoomLocks:
    """Lets one task at a time do its part for a room: receive from it, join it, fetch its history."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: Counter[str] = Counter()

    @asynccontextmanager
    async def hold(self, room_id: str) -> AsyncIterator[None]:
        """Wait for the room's lock and keep it."""
        lock = self._locks.setdefault(room_id, asyncio.Lock())
        self._users[room_id] += 1
        try:
            async with lock:
                yield
        finally:
            self._users[room_id] -= 1
            if not self._users[room_id]:
                del self._users[room_id]
                del self._locks[room_id]
