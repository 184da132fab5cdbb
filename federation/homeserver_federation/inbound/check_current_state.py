"""Step 6: an event is allowed by the current state of its room, or it is soft-failed.

Spec: server-server-api #soft-failure
"""

from __future__ import annotations

from homeserver.protocol.event_builder import auth_state_keys
from homeserver.protocol.events import Event
from homeserver.protocol.receipt import Verdict, judge_by_current_state, required_signatures
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import Room
from homeserver_federation.inbound.check_state_before import CREATE


async def check_current_state(event: Event, room: Room, events: EventStore) -> Verdict:
    """The verdict by the room as it is before the event joins it."""
    keys = [*auth_state_keys(event, event.room_version), CREATE]
    held = await events.get_state(room.state, keys)
    return judge_by_current_state(
        event, held, held.get(CREATE), signed_by_authoriser=required_signatures(event).__contains__
    )
