"""What a reader's membership was at each event they are shown, so that clients know what they can decrypt.

Spec: client-server-api #room-event-format (`unsigned.membership`)
"""

from __future__ import annotations

from collections.abc import Sequence

from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import MEMBER, Rooms
from homeserver.services.rooms.state_groups import StateGroups
from homeserver.storage.events import StoredEvent


class MembershipsAtEvents:
    """Looks memberships up, once for each state that the events share."""

    def __init__(self, rooms: Rooms, events: EventStore, groups: StateGroups) -> None:
        self._rooms = rooms
        self._events = events
        self._groups = groups

    async def of(self, user_id: str, events: Sequence[StoredEvent]) -> list[str]:
        """The user's membership at each event, their own member events included, in the same order."""
        known: dict[int | None, str] = {}
        found = []
        for stored in events:
            membership = known.get(stored.state_after)
            if membership is None:
                membership = known[stored.state_after] = await self._find(user_id, stored)
            found.append(membership)
        return found

    async def _find(self, user_id: str, stored: StoredEvent) -> str:
        room = self._rooms.in_memory(stored.event.room_id)
        if room is not None and room.state_group == stored.state_after:
            event_id = room.state_id(MEMBER, user_id)
        else:
            key = (MEMBER, user_id)
            event_id = (await self._groups.find(stored.state_after, [key])).get(key)
        member = await self._events.find(event_id) if event_id is not None else None
        return (member.event.membership if member is not None else None) or "leave"
