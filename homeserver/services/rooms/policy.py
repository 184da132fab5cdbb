"""What the settings let people do with rooms; whatever passes here goes on to the plugins' gates.

Administrators may do what is reserved for them.
"""

from __future__ import annotations

from typing import Protocol

from homeserver.protocol.errors import forbidden
from homeserver.protocol.event_builder import EventDraft
from homeserver.services.rooms.aliases import DirectoryGate
from homeserver.services.rooms.create_room import CreationGate, NewRoom
from homeserver.services.rooms.room import Room
from homeserver.services.rooms.send_event import EventGate
from homeserver.storage.accounts import find_user
from homeserver.storage.database import Database
from homeserver_config.sections.rooms import RoomSettings, Who


class Gates(EventGate, CreationGate, DirectoryGate, Protocol):
    """All gates that stand before what users do with rooms."""


class RoomPolicy:
    """Implements the gates from the section `rooms`."""

    def __init__(self, settings: RoomSettings, database: Database, plugins: Gates) -> None:
        self._settings = settings
        self._database = database
        self._plugins = plugins

    async def check_event(self, draft: EventDraft, room: Room) -> EventDraft:
        return await self._plugins.check_event(draft, room)

    async def check_room_creation(self, user_id: str, room: NewRoom) -> None:
        await self._check(self._settings.create, user_id, "create rooms")
        await self._plugins.check_room_creation(user_id, room)

    async def check_alias(self, user_id: str, alias: str, room_id: str) -> None:
        await self._check(self._settings.create_alias, user_id, "give rooms an address")
        await self._plugins.check_alias(user_id, alias, room_id)

    async def check_publishing(self, user_id: str, room_id: str) -> None:
        await self._check(self._settings.publish, user_id, "list rooms in the public directory")
        await self._plugins.check_publishing(user_id, room_id)

    async def _check(self, who: Who, user_id: str, what: str) -> None:
        if who == "everyone":
            return
        user = await self._database.read(find_user, user_id) if who == "admins" else None
        if user is None or not user.admin:
            raise forbidden(f"On this server you may not {what}.")
