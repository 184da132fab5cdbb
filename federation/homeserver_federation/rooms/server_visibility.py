"""Which events another server may have: by the room's history visibility and the members it had at each event.

Spec: client-server-api #room-history-visibility
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from homeserver.protocol.events import StateKey
from homeserver.protocol.history_visibility import can_server_see, history_visibility_of
from homeserver.protocol.identifiers import server_name_of
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import MEMBER
from homeserver.services.rooms.state_groups import StateGroups
from homeserver.storage.events import StoredEvent

_HISTORY_VISIBILITY: StateKey = ("m.room.history_visibility", "")
_OPEN = frozenset({"shared", "world_readable"})


class ServerVisibility:
    """Decides for servers that are in the room now."""

    def __init__(self, events: EventStore, groups: StateGroups) -> None:
        self._events = events
        self._groups = groups

    async def wire_forms(self, server_name: str, events: Sequence[StoredEvent]) -> list[dict[str, Any]]:
        """The PDUs of events as the server may have them: those it may not see are redacted."""
        memberships: dict[int | None, frozenset[str]] = {}
        return [
            wire_form(stored) if await self._may_see(server_name, stored, memberships) else stored.event.redacted().pdu
            for stored in events
        ]

    async def may_see(self, server_name: str, stored: StoredEvent) -> bool:
        """Whether the server may see one event."""
        return await self._may_see(server_name, stored, {})

    async def _may_see(
        self, server_name: str, stored: StoredEvent, memberships: dict[int | None, frozenset[str]]
    ) -> bool:
        event = stored.event
        before = await self._groups.find(stored.state_before, [_HISTORY_VISIBILITY])
        held = await self._events.get_state(before, [_HISTORY_VISIBILITY])
        current = held.get(_HISTORY_VISIBILITY)
        visibility = history_visibility_of(current.content if current is not None else None)
        after = visibility
        if event.state_key is not None and event.key == _HISTORY_VISIBILITY:
            after = history_visibility_of(event.content)
        if visibility in _OPEN or after in _OPEN:
            return True
        if stored.state_before not in memberships:
            memberships[stored.state_before] = await self._memberships(server_name, stored.state_before)
        had = set(memberships[stored.state_before])
        if event.membership is not None and server_name_of(event.state_key or "") == server_name:
            had.add(event.membership)
        return can_server_see((visibility, after), had_joined_user="join" in had, had_invited_user="invite" in had)

    async def _memberships(self, server_name: str, group: int | None) -> frozenset[str]:
        state = await self._groups.load(group)
        ids = [
            event_id
            for (event_type, user_id), event_id in state.items()
            if event_type == MEMBER and server_name_of(user_id) == server_name
        ]
        members = (await self._events.get_many(ids)).values()
        return frozenset(stored.event.membership for stored in members if stored.event.membership is not None)


def wire_form(stored: StoredEvent) -> dict[str, Any]:
    """An event as it goes to other servers: without the content that a redaction took away."""
    return stored.event.redacted().pdu if stored.redacted_by is not None else stored.event.pdu
