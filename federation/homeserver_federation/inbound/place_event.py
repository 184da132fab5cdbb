"""Gives an event that passed steps 1 to 4 its place in the room: judges it by state, and writes it.

Everything happens under the room's lock, and again when another process was faster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlalchemy.exc import IntegrityError

from homeserver.protocol.event_hashes import reference_hash_base64
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.power_levels import PowerLevels
from homeserver.protocol.receipt import ACCEPTED, Standing, Verdict
from homeserver.protocol.relations import thread_root_of
from homeserver.runtime.clock import Clock
from homeserver.services.rooms.append_event import PushOutcome, PushOutcomes
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import Room, Rooms
from homeserver.storage.database import Database
from homeserver.storage.events import StoredEvent
from homeserver.storage.remote_rooms import Relay, append_remote, is_backward_extremity
from homeserver.storage.room_log import Append, AppendBatch, Extremity, RoomMoved
from homeserver.storage.room_state import StateDelta
from homeserver_federation.inbound.check_current_state import check_current_state
from homeserver_federation.inbound.check_format import PduDropped
from homeserver_federation.inbound.check_state_before import CREATE, check_state_before
from homeserver_federation.rooms.redactions import Redactions
from homeserver_federation.rooms.room_states import RoomStates, StateAt, difference

_MOST_TRIES = 10
_MOST_HIDDEN = 100
_NOTHING = PushOutcome()


@dataclass(frozen=True, slots=True)
class Candidate:
    """An event to be placed: what steps 4 and 7 said of it, and the states after those of its prev events that are
    not here.
    """

    event: Event
    by_auth_events: Verdict
    by_policy: Verdict | None
    missing: Mapping[str, StateAt]


class PlaceEvent:
    """Steps 5 and 6, and the append."""

    def __init__(
        self,
        database: Database,
        rooms: Rooms,
        events: EventStore,
        states: RoomStates,
        redactions: Redactions,
        push: PushOutcomes,
        clock: Clock,
        server_name: str,
    ) -> None:
        self._database = database
        self._rooms = rooms
        self._events = events
        self._states = states
        self._redactions = redactions
        self._push = push
        self._clock = clock
        self._server_name = server_name

    async def place(self, candidate: Candidate, relay: Relay | None = None) -> StoredEvent:
        """Write the event with its standing, whatever that is. Raises PduDropped when its prev events are not here."""
        room_id = candidate.event.room_id
        for _ in range(_MOST_TRIES):
            room = await self._rooms.get(room_id)
            async with room.lock:
                room = await self._rooms.get(room_id)
                batch = await self._judge(candidate, room)
                try:
                    return (await self._database.write(append_remote, batch, relay)).events[0]
                except RoomMoved:
                    self._rooms.drop(room_id)
                except IntegrityError:
                    # Another process wrote this very event.
                    self._rooms.drop(room_id)
                    self._events.cache.drop(candidate.event.event_id)
                    stored = await self._events.find(candidate.event.event_id)
                    if stored is not None and stored.position is not None:
                        return stored
        raise PduDropped("The room is too busy just now.")

    async def _judge(self, candidate: Candidate, room: Room) -> AppendBatch:
        event = candidate.event
        before = await self._state_before(candidate, room)
        is_current = before.base == room.state_group and not before.changes
        verdict, held = await check_state_before(event, before, self._states, self._events)
        if candidate.by_auth_events.standing is not Standing.ACCEPTED:
            verdict = candidate.by_auth_events
        if verdict.standing is Standing.ACCEPTED and not is_current:
            verdict = await check_current_state(event, room, self._events)
        if verdict.standing is Standing.ACCEPTED:
            verdict = candidate.by_policy or ACCEPTED
        item = await self._append_of(event, verdict, before, held, room)
        extremities, current = room.extremities, None
        is_accepted = verdict.standing is Standing.ACCEPTED
        # What an event that is here already follows on is no end of the graph, late as it comes.
        if is_accepted and not await self._database.read(is_backward_extremity, room.room_id, event.event_id):
            superseded = await self._superseded_by(event)
            remaining = [extremity for extremity in room.extremities if extremity.event_id not in superseded]
            extremities = (*remaining, _extremity(event))
            if is_current and not remaining:
                item = replace(item, state_before=None)
            else:
                current = await self._current_state(event, before, remaining, room)
        return AppendBatch(
            room.room_id,
            room.version,
            room.revision,
            [item],
            extremities,
            self._clock.now_ms(),
            self._server_name,
            current,
        )

    async def _state_before(self, candidate: Candidate, room: Room) -> StateAt:
        prev_ids = candidate.event.prev_event_ids
        if set(prev_ids) == {extremity.event_id for extremity in room.extremities}:
            return StateAt(room.state_group)
        stored = await self._events.get_many(prev_ids)
        states = []
        for prev_id in prev_ids:
            if prev_id in stored and stored[prev_id].position is not None:
                states.append(StateAt(stored[prev_id].state_after))
            elif prev_id in candidate.missing:
                states.append(candidate.missing[prev_id])
            else:
                raise PduDropped("The events before this one are not known.")
        return await self._states.resolve(room.version, states)

    async def _current_state(
        self, event: Event, before: StateAt, remaining: list[Extremity], room: Room
    ) -> StateDelta | None:
        """How the room's state changes with the event as one of its ends; None if it does not."""
        stored = await self._events.get_many([extremity.event_id for extremity in remaining])
        states = [before.after(event), *(StateAt(stored[id_].state_after) for id_ in sorted(stored))]
        resolved = await self._states.resolve(room.version, states, {event.event_id: event})
        changes = difference(room.state, await self._states.load(resolved))
        return StateDelta(room.state_group, changes) if changes else None

    async def _superseded_by(self, event: Event) -> set[str]:
        """The events that the event follows on, directly or through events that never became ends of the graph."""
        superseded = set(event.prev_event_ids)
        level = list(event.prev_event_ids)
        for _ in range(_MOST_HIDDEN):
            stored = (await self._events.get_many(level)).values()
            level = [
                prev_id
                for hidden in stored
                if hidden.standing is not Standing.ACCEPTED
                for prev_id in hidden.event.prev_event_ids
                if prev_id not in superseded
            ]
            if not level:
                break
            superseded.update(level)
        return superseded

    async def _append_of(
        self, event: Event, verdict: Verdict, before: StateAt, held: Mapping[StateKey, Event], room: Room
    ) -> Append:
        redacts = redacted_by = None
        outcome = _NOTHING
        if verdict.standing is Standing.ACCEPTED:
            redacts = await self._redactions.find_target(event, held, held.get(CREATE))
            redacted_by = await self._redactions.find_waiting(event)
            if redacted_by is None:
                levels = PowerLevels.of(held, room.version, held.get(CREATE))
                outcome = self._push.of(event, levels, room.local_members)
        return Append(
            event,
            verdict.standing,
            verdict.reason,
            before.to_store,
            outcome.notify,
            outcome.mentions,
            thread_root_of(event.content),
            redacts,
            may_be_known=True,
            redacted_by=redacted_by,
        )


def _extremity(event: Event) -> Extremity:
    hashed = event.room_version.event_format.references_carry_hashes
    return Extremity(
        event.event_id, event.depth, reference_hash_base64(event.pdu, event.room_version) if hashed else ""
    )
