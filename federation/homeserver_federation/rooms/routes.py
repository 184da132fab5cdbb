"""Through which servers a room may be reached that this server is not in.

Spec: appendices #routing
"""

from __future__ import annotations

from homeserver.protocol.identifiers import server_name_of
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import Rooms
from homeserver.storage.database import Database
from homeserver.storage.memberships import find_membership
from homeserver_federation.rooms.joined_servers import JoinedServers, is_resident

_MOST_SERVERS = 5


class Routes:
    """Remembers no routes of its own: reads them off invites, knocks and room IDs."""

    def __init__(self, database: Database, rooms: Rooms, events: EventStore, joined: JoinedServers) -> None:
        self._database = database
        self._rooms = rooms
        self._events = events
        self._joined = joined

    async def to(self, room_id: str, user_id: str) -> list[str]:
        """Servers that may be in the room: of who invited the user, of the people shown, of the room's ID."""
        servers: dict[str, None] = {}
        present = await self._database.read(find_membership, room_id, user_id)
        stored = await self._events.find(present.event_id) if present is not None else None
        if stored is not None:
            servers[server_name_of(stored.event.sender)] = None
            unsigned = stored.event.unsigned
            shown = unsigned.get("invite_room_state") or unsigned.get("knock_room_state") or []
            for entry in shown if isinstance(shown, list) else []:
                sender = entry.get("sender") if isinstance(entry, dict) else None
                if isinstance(sender, str):
                    servers[server_name_of(sender)] = None
        servers[server_name_of(room_id)] = None
        room = await self._rooms.find(room_id)
        if room is not None and is_resident(room):
            # In the room, and yet somebody else has to let the user in.
            servers.update((server, None) for server in await self._joined.others(room, _MOST_SERVERS))
        return [server for server in servers if server]
