"""The fully-read marker: account data of a room that only the server writes.

Spec: client-server-api #fully-read-markers
"""

from __future__ import annotations

import orjson

from homeserver.protocol.errors import forbidden
from homeserver.services.rooms.room import Rooms
from homeserver.storage.account_data import store_in_room
from homeserver.storage.database import Database

FULLY_READ = "m.fully_read"


class FullyReadMarkers:
    """Moves the marker."""

    def __init__(self, database: Database, rooms: Rooms) -> None:
        self._database = database
        self._rooms = rooms

    async def set_fully_read(self, user_id: str, room_id: str, event_id: str) -> None:
        """Mark a room as read up to an event. Raises M_FORBIDDEN for those who are not in it."""
        room = await self._rooms.get(room_id)
        if room.local_members.get(user_id) != "join":
            raise forbidden("You are not in this room.")
        content = orjson.dumps({"event_id": event_id})
        await self._database.write(store_in_room, user_id, room_id, FULLY_READ, content)
