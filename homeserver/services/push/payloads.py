"""What a push notification says: the event in the words of the push gateway API, and how much is unread.

Spec: push-gateway-api #post_matrixpushv1notify
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from homeserver.plugin_api.push import Notification
from homeserver.services.rooms.room import MEMBER, Room
from homeserver.storage.database import load_position
from homeserver.storage.memberships import load_memberships

if TYPE_CHECKING:
    from homeserver.protocol.events import Event
    from homeserver.services.push.unread import Unread
    from homeserver.services.rooms.event_store import EventStore
    from homeserver.services.rooms.room import Rooms
    from homeserver.storage.database import Database

_NAME = ("m.room.name", "")
_ALIAS = ("m.room.canonical_alias", "")
_ENCRYPTED = "m.room.encrypted"


class NotificationPayloads:
    """Makes notifications. Without `include_content` they say who and where, not what."""

    def __init__(
        self, database: Database, rooms: Rooms, events: EventStore, unread: Unread, *, include_content: bool
    ) -> None:
        self._database = database
        self._rooms = rooms
        self._events = events
        self._unread = unread
        self._include_content = include_content

    async def of_event(self, event: Event, user_id: str, tweaks: Mapping[str, Any]) -> Notification:
        """The notification of an event for one user, with the counts as they are now."""
        payload: dict[str, Any] = {
            "event_id": event.event_id,
            "room_id": event.room_id,
            "type": event.type,
            "sender": event.sender,
            "prio": _priority(event, tweaks),
        }
        room = await self._rooms.find(event.room_id)
        if room is not None:
            payload.update(await self._names(room, event))
        if event.type == MEMBER:
            payload["user_is_target"] = event.state_key == user_id
        if self._include_content and event.content:
            payload["content"] = event.content
        unread = await self.unread_of(user_id)
        payload["counts"] = {"unread": unread} if unread else {}
        return Notification(payload, tweaks, event.event_id)

    async def of_counts(self, user_id: str) -> Notification:
        """The notification that nothing but the counts has changed. Zero is said here: it is the news."""
        return Notification({"counts": {"unread": await self.unread_of(user_id)}, "prio": "low"})

    async def unread_of(self, user_id: str) -> int:
        """How many unread messages a user has across all rooms."""
        memberships = await self._database.read(load_memberships, user_id)
        found = [await self._rooms.find(one.room_id) for one in memberships if one.membership == "join"]
        rooms = [room for room in found if room is not None]
        up_to = await self._database.read(load_position)
        counts = await self._unread.counts(user_id, rooms, up_to)
        return sum(count.total.notifications for count in counts.values())

    async def _names(self, room: Room, event: Event) -> dict[str, str]:
        sender = (MEMBER, event.sender)
        state = await self._events.get_state(room.state, [_NAME, _ALIAS, sender])
        shown = {
            "sender_display_name": _content(state.get(sender), "displayname"),
            "room_name": _content(state.get(_NAME), "name"),
            "room_alias": _content(state.get(_ALIAS), "alias"),
        }
        return {name: value for name, value in shown.items() if isinstance(value, str) and value}


def _content(event: Event | None, key: str) -> Any:
    return None if event is None else event.content.get(key)


def _priority(event: Event, tweaks: Mapping[str, Any]) -> str:
    """Low lets a phone sleep: for what makes no sound, is no highlight and can be read without its keys."""
    return "high" if event.type == _ENCRYPTED or tweaks.get("highlight") or tweaks.get("sound") else "low"
