"""The members after whom clients call a room that has no name.

Spec: client-server-api #calculating-the-display-name-for-a-room
"""

from __future__ import annotations

from homeserver.services.rooms.room import Room
from homeserver.storage.database import Database
from homeserver.storage.memberships import load_hero_candidates

_MOST_HEROES = 5


class Heroes:
    """Looks heroes up; the room in memory remembers them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, room: Room, user_id: str) -> list[str]:
        """At most five other members: those who are there, or where there are none, those who left."""
        if room.heroes is None:
            room.heroes = await self._database.read(load_hero_candidates, room.room_id, _MOST_HEROES + 1)
        return [hero for hero in room.heroes if hero != user_id][:_MOST_HEROES]
