"""Reads a room as it is, or as it was when the reader left: state, members, single events.

Spec: client-server-api #getting-events-for-a-room
"""

from __future__ import annotations

from collections.abc import Sequence

from homeserver.protocol.errors import MatrixError, forbidden, invalid_param, not_found
from homeserver.protocol.identifiers import check_user_id
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import MEMBER, Rooms
from homeserver.services.rooms.state_groups import StateGroups
from homeserver.services.rooms.timeline import Timeline
from homeserver.services.rooms.visibility import Visibility
from homeserver.services.tokens import parse_timeline_token
from homeserver.storage.database import Database
from homeserver.storage.events import StoredEvent
from homeserver.storage.memberships import Member, load_joined_members, load_memberships, load_shared_rooms
from homeserver.storage.room_state import StateMap


class ReadRoom:
    """The use cases behind `/state`, `/members`, `/joined_members`, `/event` and `/joined_rooms`."""

    def __init__(
        self,
        database: Database,
        rooms: Rooms,
        events: EventStore,
        groups: StateGroups,
        visibility: Visibility,
        timeline: Timeline,
    ) -> None:
        self._database = database
        self._rooms = rooms
        self._events = events
        self._groups = groups
        self._visibility = visibility
        self._timeline = timeline

    async def state(self, user_id: str, room_id: str) -> list[StoredEvent]:
        """All current state; for someone who has left, the state when they did."""
        state = await self._state_for(user_id, room_id)
        return list((await self._events.get_many(state.values())).values())

    async def state_event(self, user_id: str, room_id: str, event_type: str, state_key: str) -> StoredEvent:
        """One piece of state. Raises M_NOT_FOUND."""
        state = await self._state_for(user_id, room_id)
        event_id = state.get((event_type, state_key))
        stored = await self._events.find(event_id) if event_id is not None else None
        if stored is None:
            raise not_found("This room has no such state.")
        return stored

    async def members(
        self,
        user_id: str,
        room_id: str,
        *,
        at: str | None,
        membership: str | None,
        not_membership: str | None,
    ) -> list[StoredEvent]:
        """Member events of the room, now or at a token of /sync or /messages."""
        state = await self._state_for(user_id, room_id, at)
        ids = [event_id for (event_type, _), event_id in state.items() if event_type == MEMBER]
        found = (await self._events.get_many(ids)).values()
        return [
            stored
            for stored in found
            if (membership is None or stored.event.membership == membership)
            and (not_membership is None or stored.event.membership != not_membership)
        ]

    async def joined_members(self, user_id: str, room_id: str) -> Sequence[Member]:
        """Everyone in the room, for those who are in it."""
        room = await self._rooms.get(room_id)
        if room.local_members.get(user_id) != "join":
            raise forbidden("You are not in this room.")
        return await self._database.read(load_joined_members, room_id)

    async def event(self, user_id: str, room_id: str, event_id: str) -> StoredEvent:
        """One event. Raises M_NOT_FOUND when it does not exist or may not be seen."""
        room = await self._rooms.find(room_id)
        if room is None:
            raise not_found("There is no such event, or you may not see it.")
        viewer = await self._visibility.viewer(user_id, room, or_world_readable=True)
        return await self._timeline.find_visible(viewer, room, event_id)

    async def event_anywhere(self, user_id: str, event_id: str) -> StoredEvent | None:
        """An event of any room the user may read; None for one that does not exist or may not be seen."""
        stored = await self._events.find(event_id)
        if stored is None:
            return None
        try:
            return await self.event(user_id, stored.event.room_id, event_id)
        except MatrixError:
            return None

    async def joined_rooms(self, user_id: str) -> list[str]:
        """The rooms a user is joined to."""
        memberships = await self._database.read(load_memberships, user_id)
        return [found.room_id for found in memberships if found.membership == "join"]

    async def _state_for(self, user_id: str, room_id: str, at: str | None = None) -> StateMap:
        room = await self._rooms.get(room_id)
        viewer = await self._visibility.viewer(user_id, room, or_world_readable=True)
        position = parse_timeline_token(at).position if at is not None else None
        if viewer.left_at is not None and not await self._visibility.is_world_readable(room):
            position = viewer.left_at if position is None else min(position, viewer.left_at)
        if position is None:
            return room.state
        return await self._groups.load_at(room_id, position)

    async def check_may_read(self, user_id: str, room_id: str) -> None:
        """Raises M_FORBIDDEN unless the user is or was in the room, or anybody may read it."""
        room = await self._rooms.get(room_id)
        await self._visibility.viewer(user_id, room, or_world_readable=True)

    async def mutual_rooms(self, user_id: str, other_user_id: str) -> list[str]:
        """The rooms two users are both joined to. Raises M_INVALID_PARAM.

        Spec: client-server-api #mutual-rooms
        """
        if other_user_id == user_id:
            raise invalid_param("You share all rooms with yourself; name another user.")
        check_user_id(other_user_id)
        return await self._database.read(load_shared_rooms, user_id, other_user_id)
