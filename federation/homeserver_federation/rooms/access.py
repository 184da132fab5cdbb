"""Which servers may have to do with a room: its server ACL, and who is in it.

Spec: server-server-api #server-access-control-lists-acls
"""

from __future__ import annotations

from homeserver.protocol.errors import forbidden
from homeserver.protocol.events import StateKey
from homeserver.protocol.server_acl import ServerAcl
from homeserver.runtime.bounded_cache import BoundedCache
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import Room, Rooms, unknown_room
from homeserver_federation.rooms.joined_servers import JoinedServers, is_resident

_ACL: StateKey = ("m.room.server_acl", "")
_REMEMBERED = 1_000


class ServerAccess:
    """Answers "may this server?" before anything else is looked at."""

    def __init__(self, rooms: Rooms, events: EventStore, joined: JoinedServers) -> None:
        self._rooms = rooms
        self._events = events
        self._joined = joined
        self._acls: BoundedCache[str, ServerAcl] = BoundedCache("server_acls", _REMEMBERED)

    async def room_for(
        self, origin: str, room_id: str, *, must_be_in_it: bool = True, though_left: bool = False
    ) -> Room:
        """A room that this server takes part in, for a server that may ask about it.

        `though_left`: or took part in; those that were there too when it left may ask for what it has of that time.
        Raises M_NOT_FOUND for other rooms, M_FORBIDDEN when the ACL denies the server or it is not in the room.
        """
        room = await self._rooms.find(room_id)
        if room is None or not (is_resident(room) or (though_left and room.state_group is not None)):
            raise unknown_room()
        if not await self.is_allowed(origin, room):
            raise forbidden("Your server is not allowed in this room.")
        if must_be_in_it and origin not in await self._joined.of(room):
            raise forbidden("Your server is not in this room.")
        return room

    async def is_allowed(self, server_name: str, room: Room) -> bool:
        """Whether the room's ACL, if it has one, lets a server in."""
        event_id = room.state_id(*_ACL)
        if event_id is None:
            return True
        acl = self._acls.find(event_id)
        if acl is None:
            stored = await self._events.find(event_id)
            acl = ServerAcl.from_content(stored.event.content if stored is not None else {})
            self._acls.put(event_id, acl)
        return acl.allows(server_name)
