"""Lets everything pass: what stands at the gates where no plugin does.

The gates are where plugins may refuse what users want to do with rooms.
"""

from __future__ import annotations

from homeserver.protocol.event_builder import EventDraft
from homeserver.services.rooms.create_room import NewRoom
from homeserver.services.rooms.room import Room


class OpenGates:
    """Implements EventGate, CreationGate and DirectoryGate."""

    async def check_event(self, draft: EventDraft, room: Room) -> EventDraft:
        return draft

    async def check_room_creation(self, user_id: str, room: NewRoom) -> None:
        return

    async def check_alias(self, user_id: str, alias: str, room_id: str) -> None:
        return

    async def check_publishing(self, user_id: str, room_id: str) -> None:
        return
