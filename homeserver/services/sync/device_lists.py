"""Whose devices a client has to look up again, and whose no longer concern it.

Spec: client-server-api #tracking-the-device-list-for-a-user
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from homeserver.services.rooms.room import MEMBER, Room, Rooms
from homeserver.services.rooms.visibility import Visibility
from homeserver.services.sync.hub import Watched
from homeserver.services.sync.newest_events import NewestEvents
from homeserver.services.sync.own_memberships import OwnMemberships
from homeserver.services.sync.request import DeviceNews
from homeserver.storage.changed_rooms import load_changed_rooms
from homeserver.storage.database import Database
from homeserver.storage.memberships import Membership, load_member_changes

_MOST_FROM_MEMORY = 200


@dataclass(slots=True)
class Encounters:
    """Whom the user met, and whom they may have lost sight of, in a stretch of the log."""

    came: set[str] = field(default_factory=set)
    went: set[str] = field(default_factory=set)

    def note(self, user_id: str, membership: str) -> None:
        """Somebody's membership of a room they share changed."""
        (self.came if membership == "join" else self.went).add(user_id)


class DeviceLists:
    """Tells changes of device lists."""

    def __init__(
        self,
        database: Database,
        rooms: Rooms,
        newest: NewestEvents,
        visibility: Visibility,
        own: OwnMemberships,
        devices: DeviceNews,
    ) -> None:
        self._database = database
        self._rooms = rooms
        self._newest = newest
        self._visibility = visibility
        self._own = own
        self._devices = devices

    async def changes(self, watched: Watched, after: int, up_to: int, met: Encounters) -> dict[str, list[str]] | None:
        """`changed` and `left`, or None when there are neither."""
        changed = set(met.came)
        if watched.changed("device_list", after):
            changed |= await self._devices.changed_device_lists(watched.user_id, after, up_to)
        left = met.went - {watched.user_id}
        left -= await self._visibility.sharing_rooms(watched.user_id, left) if left else set()
        changed -= left
        if not changed and not left:
            return None
        return {"changed": sorted(changed), "left": sorted(left)}

    async def encounters(self, watched: Watched, after: int, up_to: int) -> Encounters:
        """All of a user's encounters, for clients that are not told of every room."""
        changed = watched.rooms_since(after)
        if changed is None:
            changed = await self._database.read(load_changed_rooms, watched.user_id, after)
        met = Encounters()
        for room_id in changed:
            found = watched.memberships.get(room_id)
            if found is not None:
                await self._note_room(watched.user_id, found, after, up_to, met)
        return met

    async def _note_room(self, user_id: str, found: Membership, after: int, up_to: int, met: Encounters) -> None:
        if found.membership == "join":
            room = await self._rooms.get(found.room_id)
            if await self._own.came_since(found, user_id, after):
                met.came.update(members_of(room))
            else:
                for member, membership in await self._member_changes(room, after, up_to):
                    met.note(member, membership)
        elif found.position > after and await self._own.was_in_since(found, user_id, after):
            left = await self._rooms.find(found.room_id)
            met.went.update(members_of(left) if left is not None else ())

    async def _member_changes(self, room: Room, after: int, up_to: int) -> Iterable[tuple[str, str]]:
        events = room.newest(after, up_to, _MOST_FROM_MEMORY)
        if events is None or len(events) == _MOST_FROM_MEMORY or not room.followed_since(after):
            return await self._database.read(load_member_changes, room.room_id, after)
        return [
            (stored.event.state_key, stored.event.membership or "leave")
            for stored in events
            if stored.event.type == MEMBER and stored.event.state_key is not None
        ]


def members_of(room: Room) -> set[str]:
    """Everybody with a member event in the room's state."""
    return {state_key for event_type, state_key in room.state if event_type == MEMBER}
