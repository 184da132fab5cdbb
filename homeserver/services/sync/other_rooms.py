"""What a sync says of rooms the user is invited to, knocks on, or has left.

Spec: client-server-api #syncing, #stripped-state
"""

from __future__ import annotations

from typing import Any

from homeserver.protocol.client_event import to_stripped_state
from homeserver.protocol.events import StateKey
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import MEMBER, Room
from homeserver.services.rooms.state_groups import StateGroups
from homeserver.storage.memberships import Membership

# What of a room its invitees and knockers are shown.
_SHOWN: tuple[StateKey, ...] = (
    ("m.room.create", ""),
    ("m.room.name", ""),
    ("m.room.avatar", ""),
    ("m.room.topic", ""),
    ("m.room.join_rules", ""),
    ("m.room.canonical_alias", ""),
    ("m.room.encryption", ""),
)


class StrippedRooms:
    """Rooms as people outside see them."""

    def __init__(self, events: EventStore, groups: StateGroups) -> None:
        self._events = events
        self._groups = groups

    async def stripped_state(self, room: Room | None, membership: Membership, user_id: str) -> list[dict[str, Any]]:
        """The stripped state that goes with an invite or a knock, the user's own member event last."""
        own = await self._events.find(membership.event_id)
        if own is None:
            return []
        given = own.event.unsigned.get("invite_room_state") or own.event.unsigned.get("knock_room_state")
        if isinstance(given, list):
            shown = [event for event in given if isinstance(event, dict) and "type" in event]
            return [*shown, _with_place(own)]
        if room is None:
            return [_with_place(own)]
        keys = [*_SHOWN, (MEMBER, membership.sender)]
        held = await self._groups.find(own.state_before, keys)
        found = await self._events.get_many(held.values())
        state = [to_stripped_state(found[held[key]].event) for key in keys if held.get(key) in found]
        return [event for event in state if event["state_key"] != user_id or event["type"] != MEMBER] + [
            _with_place(own)
        ]


def _with_place(own: Any) -> dict[str, Any]:
    event = own.event
    return {
        **to_stripped_state(event),
        "event_id": event.event_id,
        "origin_server_ts": event.origin_server_ts,
    }
