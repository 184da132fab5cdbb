"""Which event a redaction takes the content of, whichever of the two comes first.

Spec: rooms/v3 #handling-redactions
"""

from __future__ import annotations

from collections.abc import Mapping

from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.receipt import Standing
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.redaction import may_redact
from homeserver.services.rooms.state_groups import StateGroups
from homeserver.storage.database import Database
from homeserver.storage.events import StoredEvent
from homeserver.storage.remote_rooms import load_waiting_redactions

_CREATE: StateKey = ("m.room.create", "")
_POWER_LEVELS: StateKey = ("m.room.power_levels", "")


class Redactions:
    """Brings redactions and their targets together."""

    def __init__(self, database: Database, events: EventStore, groups: StateGroups) -> None:
        self._database = database
        self._events = events
        self._groups = groups

    async def find_target(
        self, redaction: Event, state_before: Mapping[StateKey, Event], create: Event | None
    ) -> str | None:
        """The event that an accepted redaction takes effect on; None while it is not here, or if it may not."""
        if redaction.redacts is None:
            return None
        target = await self._events.find(redaction.redacts)
        if target is None or target.event.room_id != redaction.room_id or target.standing is Standing.REJECTED:
            return None
        return target.event_id if _may_redact(redaction, target.event, state_before, create) else None

    async def find_waiting(self, target: Event) -> StoredEvent | None:
        """The redaction that was here before its target, if it may take effect."""
        waiting = await self._database.read(load_waiting_redactions, target.room_id, target.event_id)
        for redaction in waiting:
            keys = [_CREATE, _POWER_LEVELS]
            held = await self._events.get_state(await self._groups.find(redaction.state_before, keys), keys)
            if _may_redact(redaction.event, target, held, held.get(_CREATE)):
                return redaction
        return None


def _may_redact(redaction: Event, target: Event, state: Mapping[StateKey, Event], create: Event | None) -> bool:
    if redaction.room_version.auth.redaction_by_level_or_domain:
        return True  # the authorisation rules have settled it
    return may_redact(redaction, target, state, create)
