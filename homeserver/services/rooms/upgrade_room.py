"""Upgrades a room: makes its successor, moves what can be moved, and closes the old one.

Spec: client-server-api #room-upgrades
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from homeserver.protocol.errors import forbidden
from homeserver.protocol.event_builder import EventDraft
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.power_levels import PowerLevels
from homeserver.protocol.room_versions import RoomVersion, get_room_version
from homeserver.services.rooms.append_event import AppendEvent
from homeserver.services.rooms.create_room import CreateRoom, NewRoom
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import MEMBER, Room, Rooms
from homeserver.storage.database import Database
from homeserver.storage.room_summaries import load_summaries, publish_room
from homeserver.storage.rooms import move_aliases

_POWER_LEVELS: StateKey = ("m.room.power_levels", "")
_CREATE: StateKey = ("m.room.create", "")
_CANONICAL: StateKey = ("m.room.canonical_alias", "")
# State that the new room starts with; aliases follow once they point at it.
_COPIED = (
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.encryption",
    "m.room.server_acl",
)
_COPIED_FOR_EACH_KEY = frozenset({"m.space.child", "m.space.parent"})


class UpgradeRoom:
    """The use case behind `POST /rooms/{roomId}/upgrade`."""

    def __init__(
        self, database: Database, rooms: Rooms, events: EventStore, append: AppendEvent, create: CreateRoom
    ) -> None:
        self._database = database
        self._rooms = rooms
        self._events = events
        self._append = append
        self._create = create

    async def upgrade(
        self, user_id: str, room_id: str, new_version: str, additional_creators: Sequence[str] = ()
    ) -> str:
        """Returns the new room's id. Raises M_FORBIDDEN, M_UNSUPPORTED_ROOM_VERSION."""
        version = get_room_version(new_version)
        room = await self._rooms.get(room_id)
        if room.local_members.get(user_id) != "join":
            raise forbidden("You are not in this room.")
        state = await self._state(room)
        levels = PowerLevels.of(state, room.version)
        if not levels.may_send(user_id, "m.room.tombstone", is_state=True):
            raise forbidden("You do not have the power level to upgrade this room.")
        new_room_id = await self._create.create(
            user_id, self._successor(user_id, room, state, version, additional_creators)
        )
        await self._move(user_id, room, new_room_id, state)
        await self._close(user_id, room, new_room_id, levels)
        return new_room_id

    async def _state(self, room: Room) -> dict[StateKey, Event]:
        bans = [key for key in room.state if key[0] == MEMBER]
        wanted = [key for key in room.state if key[0] != MEMBER] + bans
        return await self._events.get_state(room.state, wanted)

    def _successor(
        self,
        user_id: str,
        room: Room,
        state: Mapping[StateKey, Event],
        version: RoomVersion,
        additional_creators: Sequence[str],
    ) -> NewRoom:
        old = state[_CREATE].content
        creation: dict[str, Any] = {key: old[key] for key in ("type", "m.federate") if key in old}
        creation["predecessor"] = {"room_id": room.room_id, "event_id": room.extremities[0].event_id}
        if additional_creators and version.auth.creators_have_infinite_power:
            creation["additional_creators"] = list(additional_creators)
        initial = [
            {"type": event.type, "state_key": key[1], "content": event.content}
            for key, event in state.items()
            if (key[0] in _COPIED and key[1] == "") or (key[0] in _COPIED_FOR_EACH_KEY and event.content)
        ]
        creators = {user_id, *additional_creators} if version.auth.creators_have_infinite_power else set()
        levels = self._levels_for(user_id, state, version, creators)
        banned = [event.key[1] for event in state.values() if event.type == MEMBER and event.membership == "ban"]
        return NewRoom(
            version=version.identifier,
            creation_content=creation,
            initial_state=initial,
            power_level_override=levels,
            ban=banned,
        )

    @staticmethod
    def _levels_for(
        user_id: str, state: Mapping[StateKey, Event], version: RoomVersion, creators: set[str]
    ) -> dict[str, Any]:
        """The old power levels as the new room version allows them."""
        event = state.get(_POWER_LEVELS)
        content = dict(event.content) if event is not None else {}
        users = {user: level for user, level in content.get("users", {}).items() if user not in creators}
        if not version.auth.creators_have_infinite_power:
            old_creators = PowerLevels.of(state, state[_CREATE].room_version).creators
            users.update({user: max(100, users.get(user, 0)) for user in old_creators})
            users[user_id] = max(100, users.get(user_id, 0))
        return {**content, "users": users}

    async def _move(self, user_id: str, room: Room, new_room_id: str, state: Mapping[StateKey, Event]) -> None:
        moved = await self._database.write(move_aliases, room.room_id, new_room_id)
        summaries = await self._database.read(load_summaries, [room.room_id])
        if summaries[room.room_id].published:
            await self._database.write(publish_room, new_room_id, True)
            await self._database.write(publish_room, room.room_id, False)
        canonical = state.get(_CANONICAL)
        if canonical is None:
            return
        ours = {name: value for name, value in canonical.content.items() if value in moved or name == "alt_aliases"}
        if isinstance(ours.get("alt_aliases"), list):
            ours["alt_aliases"] = [alias for alias in ours["alt_aliases"] if alias in moved]
        if ours:
            draft = EventDraft(new_room_id, _CANONICAL[0], user_id, ours, state_key="")
            await self._append.append(new_room_id, lambda _: [draft])

    async def _close(self, user_id: str, room: Room, new_room_id: str, levels: PowerLevels) -> None:
        """Point the old room at the new one, and keep ordinary members from writing on in it."""
        tombstone = {"body": "This room has been replaced.", "replacement_room": new_room_id}
        drafts = [EventDraft(room.room_id, "m.room.tombstone", user_id, tombstone, state_key="")]
        if levels.may_send(user_id, "m.room.power_levels", is_state=True):
            restricted = max(levels.users_default + 1, 50)
            content = {
                **levels.content,
                "events_default": max(levels.events_default, restricted),
                "invite": max(levels.invite, restricted),
            }
            if levels.of_user(user_id) >= restricted:
                drafts.append(EventDraft(room.room_id, "m.room.power_levels", user_id, content, state_key=""))
        await self._append.append(room.room_id, lambda _: drafts)
