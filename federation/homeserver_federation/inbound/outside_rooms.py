"""What other servers tell of rooms that this server is not in: that an invite or a knock has come to its end.

There is no state to judge by. An event counts when it shows that its sender knows the invite or knock it ends.
"""

from __future__ import annotations

from homeserver.protocol.events import Event
from homeserver.protocol.identifiers import server_name_of
from homeserver.runtime.clock import Clock
from homeserver.services.rooms.room import Room, Rooms
from homeserver.storage.database import Database
from homeserver.storage.memberships import find_membership
from homeserver.storage.remote_rooms import record_outside_membership


class OutsideRooms:
    """Keeps memberships in rooms of other servers."""

    def __init__(self, database: Database, rooms: Rooms, clock: Clock, server_name: str) -> None:
        self._database = database
        self._rooms = rooms
        self._clock = clock
        self._server_name = server_name

    async def receive(self, event: Event, room: Room) -> bool:
        """Take a properly signed event of such a room, if it ends an invite or a knock of a local user."""
        if event.membership not in {"leave", "ban"} or event.state_key is None:
            return False
        if server_name_of(event.state_key) != self._server_name:
            return False
        present = await self._database.read(find_membership, room.room_id, event.state_key)
        if present is None or present.membership not in {"invite", "knock"}:
            return False
        if present.event_id not in event.auth_event_ids:
            return False
        await self.record(event)
        return True

    async def record(self, event: Event) -> None:
        """Make an event the membership of a local user in a room that this server is not in."""
        await self._database.write(
            record_outside_membership,
            event.room_id,
            event.room_version,
            event,
            self._clock.now_ms(),
            self._server_name,
        )
        # The room in memory knows nothing of memberships that come this way.
        self._rooms.drop(event.room_id)
