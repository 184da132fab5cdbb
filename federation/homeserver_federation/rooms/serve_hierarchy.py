"""Tells other servers what a space holds, as far as somebody on them may see or join it.

Spec: server-server-api #spaces
"""

from __future__ import annotations

from typing import Any

from homeserver.protocol.errors import not_found
from homeserver.protocol.identifiers import server_name_of
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import MEMBER, Room
from homeserver.services.rooms.summaries import RoomSummaries
from homeserver_federation.rooms.access import ServerAccess
from homeserver_federation.rooms.joined_servers import JoinedServers

_MOST_CHILDREN = 100


class ServeHierarchy:
    """The use case behind `/hierarchy`."""

    def __init__(
        self, events: EventStore, access: ServerAccess, joined: JoinedServers, summaries: RoomSummaries
    ) -> None:
        self._events = events
        self._access = access
        self._joined = joined
        self._summaries = summaries

    async def hierarchy(self, origin: str, room_id: str, *, suggested_only: bool) -> dict[str, Any]:
        """A room with its children. Raises M_NOT_FOUND alike for rooms unknown and rooms that server may not see."""
        room = await self._summaries.find_known(room_id)
        if room is None or not await self._may_see(origin, room):
            raise not_found("There is no such room, or your server may not see it.")
        links = await self._summaries.children(room, suggested_only=suggested_only)
        shown = await self._summaries.with_children(room, links)
        children, inaccessible = [], []
        for link in shown["children_state"][:_MOST_CHILDREN]:
            child = await self._summaries.find_known(link["state_key"])
            if child is None:
                continue
            if await self._may_see(origin, child):
                children.append(await self._summaries.shown(child))
            else:
                inaccessible.append(child.room_id)
        return {"room": shown, "children": children, "inaccessible_children": inaccessible}

    async def _may_see(self, origin: str, room: Room) -> bool:
        if not await self._access.is_allowed(origin, room):
            return False
        if await self._summaries.is_open(room) or await self._has_member(origin, room):
            return True
        for other_id in await self._summaries.rooms_that_let_in(room):
            other = await self._summaries.find_known(other_id)
            if other is not None and origin in await self._joined.of(other):
                return True
        return False

    async def _has_member(self, origin: str, room: Room) -> bool:
        """Whether somebody on a server is in a room, or invited to it."""
        if origin in await self._joined.of(room):
            return True
        of_origin = [key for key in room.state if key[0] == MEMBER and server_name_of(key[1]) == origin]
        members = await self._events.get_state(room.state, of_origin)
        return any(event.membership == "invite" for event in members.values())
