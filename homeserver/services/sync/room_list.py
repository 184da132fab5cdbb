"""The rooms of one user in order of activity, kept in memory while the user syncs.

Every event moves its room to the end, so that the order costs nothing whatever the number of rooms.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Any

from homeserver.storage.changes import Change
from homeserver.storage.room_lists import ListedRoom, Traits
from homeserver.storage.room_log import Appended

_TELLING = (("m.room.create", ""), ("m.room.encryption", ""))


class RoomList:
    """`activity` by room id, least active first. `traits` lacks rooms whose traits have to be looked up anew.

    `views` is at the disposal of those who keep selections of the rooms; a bounded number of them.
    """

    __slots__ = ("activity", "traits", "views")

    def __init__(self, rooms: Iterable[ListedRoom]) -> None:
        self.activity: dict[str, int] = {}
        self.traits: dict[str, Traits] = {}
        self.views: dict[Hashable, Any] = {}
        for room in rooms:
            self.activity[room.room_id] = room.activity
            self.traits[room.room_id] = room.traits

    def note(self, change: Change) -> None:
        """A room has an event, or the user's membership of a room elsewhere changed."""
        if change.room_id is None:
            return
        self.touch(change.room_id, change.position)
        if not isinstance(change.detail, Appended) or any(key in change.detail.state_changes for key in _TELLING):
            self.traits.pop(change.room_id, None)

    def touch(self, room_id: str, position: int) -> None:
        """Make a room the most active one."""
        self.activity.pop(room_id, None)
        self.activity[room_id] = position

    def newest_first(self) -> Iterator[str]:
        """The rooms, most active first."""
        return reversed(self.activity)

    def changed_since(self, position: int) -> list[str]:
        """The rooms with activity after a position."""
        found: list[str] = []
        for room_id in reversed(self.activity):
            if self.activity[room_id] <= position:
                break
            found.append(room_id)
        return found
