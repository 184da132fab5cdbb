"""Step 5: an event is allowed by the state before it, or it is rejected.

Spec: server-server-api #checks-performed-on-receipt-of-a-pdu
"""

from __future__ import annotations

from homeserver.protocol.event_builder import auth_state_keys
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.receipt import Verdict, judge_by_state_before, required_signatures
from homeserver.services.rooms.event_store import EventStore
from homeserver_federation.rooms.room_states import RoomStates, StateAt

CREATE: StateKey = ("m.room.create", "")


async def check_state_before(
    event: Event, before: StateAt, states: RoomStates, events: EventStore
) -> tuple[Verdict, dict[StateKey, Event]]:
    """The verdict, and the part of the state that it rests on, the create event with it."""
    keys = [*auth_state_keys(event, event.room_version), CREATE]
    held = await events.get_state(await states.find(before, keys), keys)
    verdict = judge_by_state_before(
        event, held, held.get(CREATE), signed_by_authoriser=required_signatures(event).__contains__
    )
    return verdict, held
