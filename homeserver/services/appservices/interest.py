"""Which events are a service's business: by the room, its aliases, its members, the sender and the target.

Members are judged as they were when the event was sent, however late the service gets it.

Spec: application-service-api #registration
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from homeserver.protocol.receipt import Standing
from homeserver.runtime.bounded_cache import BoundedCache
from homeserver.services.rooms.room import MEMBER
from homeserver.storage.application_services import load_departed
from homeserver.storage.memberships import load_users_sharing_rooms
from homeserver.storage.room_log import Appended
from homeserver.storage.rooms import load_aliases

if TYPE_CHECKING:
    from homeserver.services.appservices.appservice import Appservice
    from homeserver.services.rooms.event_store import EventStore
    from homeserver.services.rooms.room import Rooms
    from homeserver.services.rooms.state_groups import StateGroups
    from homeserver.storage.changes import Change
    from homeserver.storage.database import Database
    from homeserver.storage.events import StoredEvent

_REMEMBERED_ROOMS = 10_000
_MOST_DEPARTURES = 50_000


class Interest:
    """The interest of one service. Wire `follow` to the database's commits."""

    def __init__(
        self, appservice: Appservice, database: Database, rooms: Rooms, events: EventStore, groups: StateGroups
    ) -> None:
        self._appservice = appservice
        self._database = database
        self._rooms = rooms
        self._events = events
        self._groups = groups
        # Whether a room has a member of the service, beside the members that was found out from.
        self._of_members: BoundedCache[str, tuple[Mapping[str, str], bool]] = BoundedCache(
            "appservice_rooms", _REMEMBERED_ROOMS
        )
        # Up to where in the log members of the service may have been in a room that they have left since.
        self._departures: dict[str, int] = {}
        self._departures_unknown_up_to = 0

    def start(self, position: int) -> None:
        """Nothing is known of who left which room up to a position."""
        self._departures_unknown_up_to = position

    def follow(self, changes: Iterable[Change]) -> None:
        """Note which rooms the service's members leave."""
        for change in changes:
            if isinstance(change.detail, Appended):
                self._note_departures(change.detail, change.position)

    def passed(self, position: int) -> None:
        """Everything up to a position has been judged."""
        if self._departures:
            self._departures = {room: last for room, last in self._departures.items() if last > position}

    async def select(self, events: Sequence[StoredEvent]) -> list[StoredEvent]:
        """Those events that the service gets."""
        in_rooms: dict[str, bool] = {}
        accepted = [stored for stored in events if stored.standing is Standing.ACCEPTED]
        return [stored for stored in accepted if await self._wants(stored, in_rooms)]

    async def in_room(self, room_id: str) -> bool:
        """Whether the service takes an interest in a room as it is now."""
        appservice = self._appservice
        if appservice.has_room(room_id) or await self._has_members(room_id):
            return True
        if not appservice.has_aliases:
            return False
        aliases = await self._database.read(load_aliases, room_id)
        return any(appservice.has_alias(found.alias) for found in aliases)

    async def shares_room_with(self, user_id: str) -> bool:
        """Whether a user is one of the service's, or shares a room with one."""
        if self._appservice.owns(user_id):
            return True
        others = await self._database.read(load_users_sharing_rooms, user_id)
        return any(self._appservice.owns(other) for other in others)

    async def _wants(self, stored: StoredEvent, in_rooms: dict[str, bool]) -> bool:
        event, appservice = stored.event, self._appservice
        if appservice.owns(event.sender):
            return True
        if event.type == MEMBER and event.state_key is not None and appservice.owns(event.state_key):
            return True
        room_id = event.room_id
        if room_id not in in_rooms:
            in_rooms[room_id] = await self.in_room(room_id)
        return in_rooms[room_id] or await self._had_members(stored)

    async def _has_members(self, room_id: str) -> bool:
        room = await self._rooms.find(room_id)
        if room is None:
            return False
        members = room.local_members
        known = self._of_members.find(room_id)
        if known is not None and known[0] is members:
            return known[1]
        found = any(kind == "join" and self._appservice.owns(user_id) for user_id, kind in members.items())
        self._of_members.put(room_id, (members, found))
        return found

    async def _had_members(self, stored: StoredEvent) -> bool:
        position, room_id = stored.position or 0, stored.event.room_id
        if position > max(self._departures.get(room_id, 0), self._departures_unknown_up_to):
            return False
        departed = await self._database.read(load_departed, room_id, position)
        keys = [(MEMBER, user_id) for user_id in departed if self._appservice.owns(user_id)]
        if not keys:
            return False
        state = await self._groups.find(stored.state_before, keys)
        members = await self._events.get_state(state, keys)
        return any(event.membership == "join" for event in members.values())

    def _note_departures(self, appended: Appended, position: int) -> None:
        by_id = {stored.event_id: stored.event for stored in appended.events}
        for (event_type, user_id), event_id in appended.state_changes.items():
            if event_type != MEMBER or not self._appservice.owns(user_id):
                continue
            event = by_id.get(event_id) if event_id is not None else None
            if event is None or event.membership != "join":
                self._departures[appended.room_id] = position
        if len(self._departures) > _MOST_DEPARTURES:
            self._departures_unknown_up_to = max(self._departures.values())
            self._departures.clear()
