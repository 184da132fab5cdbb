"""Where plugins have their say: the gates of rooms and of accounts, in front of the hooks.

A gate at which no plugin stands is a check of one flag.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from homeserver.plugin_api.accounts import LoginAttempt, RegistrationAttempt
from homeserver.plugin_api.rooms import RoomRequest
from homeserver.protocol.event_builder import EventDraft
from homeserver.protocol.events import Event
from homeserver.services.rooms.create_room import NewRoom
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import Room

if TYPE_CHECKING:
    from typing import Any

    from homeserver.plugin_api.hooks import Hooks
    from homeserver.services.accounts.ports import LoginMethod, LoginRequest


class LiveRoomView:
    """A room as plugins see it. Implements `RoomView`."""

    __slots__ = ("_events", "_room")

    def __init__(self, room: Room, events: EventStore) -> None:
        self._room = room
        self._events = events

    @property
    def room_id(self) -> str:
        return self._room.room_id

    @property
    def version(self) -> str:
        return self._room.version.identifier

    @property
    def joined_count(self) -> int:
        return self._room.joined_count

    @property
    def local_members(self) -> Mapping[str, str]:
        return self._room.local_members

    async def find_state(self, event_type: str, state_key: str = "") -> Event | None:
        key = (event_type, state_key)
        return (await self._events.get_state(self._room.state, [key])).get(key)

    async def load_state(self) -> list[Event]:
        return list((await self._events.get_state(self._room.state, list(self._room.state))).values())


class PluginGates:
    """Implements EventGate, CreationGate and DirectoryGate. `attach` hands in the events, which are made after it."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks
        self._events: EventStore | None = None
        self._events_guarded = hooks.implements("check_event_allowed")
        self._creation_guarded = hooks.implements("check_room_creation")
        self._aliases_guarded = hooks.implements("check_alias")
        self._publishing_guarded = hooks.implements("check_publishing")

    def attach(self, events: EventStore) -> None:
        """Where the state that plugins look at is read from."""
        self._events = events

    async def check_event(self, draft: EventDraft, room: Room) -> EventDraft:
        if not self._events_guarded:
            return draft
        if self._events is None:
            raise RuntimeError("an event was sent before the gates were attached")
        return await self._hooks.check_event_allowed(draft, LiveRoomView(room, self._events))

    async def check_room_creation(self, user_id: str, room: NewRoom) -> None:
        if self._creation_guarded:
            await self._hooks.check_room_creation(_request_of(user_id, room))

    async def check_alias(self, user_id: str, alias: str, room_id: str) -> None:
        if self._aliases_guarded:
            await self._hooks.check_alias(user_id, alias, room_id)

    async def check_publishing(self, user_id: str, room_id: str) -> None:
        if self._publishing_guarded:
            await self._hooks.check_publishing(user_id, room_id)


class PluginRegistrationGate:
    """Implements `RegistrationGate`."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks

    async def check_registration(self, user_id: str, address: str) -> None:
        await self._hooks.check_registration(RegistrationAttempt(user_id, "client", address))


class GuardedLogin:
    """A way to log in whose outcome plugins may refuse. Implements `LoginMethod`."""

    def __init__(self, method: LoginMethod, hooks: Hooks) -> None:
        self._method = method
        self._hooks = hooks

    @property
    def flow(self) -> dict[str, Any]:
        return self._method.flow

    async def login(self, request: LoginRequest) -> str:
        user_id = await self._method.login(request)
        await self._hooks.check_login(LoginAttempt(user_id, str(self.flow["type"]), request.address))
        return user_id


def _request_of(user_id: str, room: NewRoom) -> RoomRequest:
    return RoomRequest(
        user_id,
        room.version,
        room.preset,
        room.public,
        room.name,
        room.topic,
        room.alias_localpart,
        room.invite,
        room.is_direct,
        room.creation_content,
        room.initial_state,
    )
