"""How a user stood to a room when the log stood at an earlier position.

Spec: client-server-api #syncing
"""

from __future__ import annotations

from homeserver.services.rooms.room import MEMBER
from homeserver.services.rooms.state_groups import StateGroups
from homeserver.services.rooms.visibility import Visibility
from homeserver.storage.memberships import Membership


class OwnMemberships:
    """Compares a user's present membership with an earlier one."""

    def __init__(self, groups: StateGroups, visibility: Visibility) -> None:
        self._groups = groups
        self._visibility = visibility

    async def at(self, room_id: str, user_id: str, position: int) -> str | None:
        """The membership at a position; None when the user had nothing to do with the room."""
        key = (MEMBER, user_id)
        group = await self._groups.find_at(room_id, position)
        event_id = (await self._groups.find(group, [key])).get(key)
        return await self._visibility.membership_event(event_id) if event_id is not None else None

    async def came_since(self, found: Membership, user_id: str, after: int) -> bool:
        """Whether a user who is in the room came into it after a position."""
        if found.position <= after:
            return False
        return await self.at(found.room_id, user_id, after) != "join"

    async def was_in_since(self, found: Membership, user_id: str, after: int) -> bool:
        """Whether a user who has left was in the room at a position or some time after it."""
        if await self.at(found.room_id, user_id, after) == "join":
            return True
        joins = await self._visibility.joins(found.room_id, user_id)
        return any(after < join < found.position for join in joins)
