"""Hooks about rooms: a say in which rooms there are, how they are called and which are shown to all."""

from __future__ import annotations

from typing import Protocol

from homeserver.plugin_api.markers import hookspec
from homeserver.plugin_api.rooms import RoomRequest


class RoomHooks(Protocol):
    @hookspec
    async def check_room_creation(self, request: RoomRequest) -> None:
        """May this room be made? Raise MatrixError to refuse."""

    @hookspec
    async def check_alias(self, user_id: str, alias: str, room_id: str) -> None:
        """May this user give the room this alias? Raise MatrixError to refuse."""

    @hookspec
    async def check_publishing(self, user_id: str, room_id: str) -> None:
        """May this user show the room in the public directory? Raise MatrixError to refuse."""
