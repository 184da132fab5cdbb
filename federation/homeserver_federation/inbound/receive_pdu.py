"""The way of another server's events into the log: gather, judge, append, one room at a time.

Spec: server-server-api #checks-performed-on-receipt-of-a-pdu
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from homeserver.protocol.events import Event
from homeserver.protocol.identifiers import server_name_of
from homeserver.protocol.receipt import Standing
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import Room, Rooms
from homeserver.storage.events import StoredEvent
from homeserver.storage.remote_rooms import Relay
from homeserver_federation.inbound.check_auth_events import CheckAuthEvents
from homeserver_federation.inbound.check_format import NotForUs, NotToBeHad, PduDropped, find_event_id, parse_pdu
from homeserver_federation.inbound.check_hashes import with_altered_redacted
from homeserver_federation.inbound.check_policy_server import CheckPolicyServer
from homeserver_federation.inbound.check_signatures import without_badly_signed
from homeserver_federation.inbound.outside_rooms import OutsideRooms
from homeserver_federation.inbound.place_event import Candidate, PlaceEvent
from homeserver_federation.inbound.retry_later import RetryLater
from homeserver_federation.ports import SignatureChecks
from homeserver_federation.room_locks import RoomLocks
from homeserver_federation.rooms.access import ServerAccess
from homeserver_federation.rooms.graph_order import in_graph_order
from homeserver_federation.rooms.joined_servers import JoinedServers, is_resident
from homeserver_federation.rooms.missing_events import MissingEvents
from homeserver_federation.rooms.room_states import StateAt, difference
from homeserver_federation.rooms.state_fetching import StateFetching

_MOST_GAPS = 10
_MOST_SERVERS = 3
_LONGEST_S = 180
_log = structlog.get_logger("homeserver.federation.receive")


@dataclass(frozen=True, slots=True)
class Received:
    """What became of a PDU: the event with its standing, or why it was dropped.

    `is_unchecked`: for lack of a key that may be had later.
    """

    stored: StoredEvent | None = None
    dropped: str | None = None
    is_worth_another_try: bool = False
    is_unchecked: bool = False


class ReceivePdu:
    """Receives the PDUs of a room. In order, with what becomes of an event that fails:

    1. it has the format of its room version (dropped): `check_format`
    2. it is signed by those who must have signed it (dropped): `check_signatures`
    3. its content is what was hashed (redacted): `check_hashes`
    4. its auth events allow it (rejected): `check_auth_events`; missing ones are fetched
    5. the state before it allows it (rejected): `check_state_before`; missing prev events are fetched, or where there
       are too many, the state after them
    6. the current state allows it (soft-failed): `check_current_state`
    7. the policy server recommends it (soft-failed): `check_policy_server`

    Then `place_event` writes it: accepted, soft-failed or rejected, with the reason.
    """

    def __init__(
        self,
        rooms: Rooms,
        events: EventStore,
        locks: RoomLocks,
        access: ServerAccess,
        joined: JoinedServers,
        checks: SignatureChecks,
        auth_events: CheckAuthEvents,
        missing: MissingEvents,
        states: StateFetching,
        policy: CheckPolicyServer,
        place: PlaceEvent,
        outside: OutsideRooms,
        later: RetryLater,
        server_name: str,
    ) -> None:
        self._rooms = rooms
        self._events = events
        self._locks = locks
        self._access = access
        self._joined = joined
        self._checks = checks
        self._auth_events = auth_events
        self._missing = missing
        self._states = states
        self._policy = policy
        self._place = place
        self._outside = outside
        self._later = later
        self._server_name = server_name

    async def receive(self, origin: str, room_id: str, pdus: Sequence[Mapping[str, Any]]) -> dict[str, Received]:
        """Receive PDUs that a server pushes, and say by event ID what became of each."""
        async with self._locks.hold(room_id):
            room = await self._rooms.find(room_id)
            if room is None:
                return {}
            events, results = await self._parse(room, pdus)
            if not is_resident(room):
                for event_id, event in events.items():
                    is_ours = await self._outside.receive(event, room)
                    results[event_id] = Received(dropped=None if is_ours else "This server is not in the room.")
                return results
            if not await self._access.is_allowed(origin, room):
                return {event_id: Received(dropped="Your server is not allowed here.") for event_id in results | events}
            for event in in_graph_order(events):
                received = results[event.event_id] = await self._receive_one(origin, event)
                if received.is_worth_another_try:
                    self._later.try_again(origin, event.event_id, partial(self._retry, origin, event))
            self._wait_for_keys(origin, room_id, pdus, room, results)
            return results

    def _wait_for_keys(
        self, origin: str, room_id: str, pdus: Sequence[Mapping[str, Any]], room: Room, results: dict[str, Received]
    ) -> None:
        """Receive events again later whose signatures could not be checked."""
        for pdu in pdus:
            event_id = find_event_id(pdu, room.version)
            received = results.get(event_id or "")
            if event_id is not None and received is not None and received.is_unchecked:
                self._later.try_again(origin, event_id, partial(self._retry_unchecked, origin, room_id, event_id, pdu))

    async def _retry_unchecked(self, origin: str, room_id: str, event_id: str, pdu: Mapping[str, Any]) -> bool:
        results = await self.receive(origin, room_id, [pdu])
        return event_id not in results or not results[event_id].is_worth_another_try

    async def _retry(self, origin: str, event: Event) -> bool:
        """Receive an event that could not be received before; True when that is settled, one way or the other."""
        async with self._locks.hold(event.room_id):
            room = await self._rooms.find(event.room_id)
            if room is None or not is_resident(room) or not await self._access.is_allowed(origin, room):
                return True
            return not (await self._receive_one(origin, event)).is_worth_another_try

    async def receive_event(self, origin: str, event: Event, relay: Relay | None = None) -> Received:
        """Receive one event that has passed steps 1 to 3, in a room this server is in, with `relay` if it is ours to
        pass on.
        """
        async with self._locks.hold(event.room_id):
            return await self._receive_one(origin, event, relay)

    async def receive_held(self, origin: str, event: Event) -> Received:
        """The same, for a caller who holds the room's lock."""
        return await self._receive_one(origin, event)

    async def _parse(
        self, room: Room, pdus: Sequence[Mapping[str, Any]]
    ) -> tuple[dict[str, Event], dict[str, Received]]:
        """Steps 1 to 3 for all of them together."""
        events: dict[str, Event] = {}
        results: dict[str, Received] = {}
        for pdu in pdus:
            try:
                event = parse_pdu(pdu, room.version, room.room_id)
            except PduDropped as dropped:
                event_id = find_event_id(pdu, room.version)
                if event_id is not None:
                    results[event_id] = Received(dropped=str(dropped))
                continue
            events[event.event_id] = event
        signed, failures = await without_badly_signed(self._checks, events)
        for event_id, failure in failures.items():
            late = failure.may_pass_later
            results[event_id] = Received(dropped=failure.reason, is_worth_another_try=late, is_unchecked=late)
        return with_altered_redacted(signed), results

    async def _receive_one(self, origin: str, event: Event, relay: Relay | None = None) -> Received:
        try:
            async with asyncio.timeout(_LONGEST_S):
                received = await self._through_the_checks(origin, event, relay, frozenset())
        except TimeoutError:
            received = Received(dropped="What it rests on could not be fetched in time.", is_worth_another_try=True)
        except NotToBeHad as dropped:
            received = Received(dropped=str(dropped), is_worth_another_try=True)
        except PduDropped as dropped:
            received = Received(dropped=str(dropped))
        if received.dropped is not None:
            _log.info("event dropped", event_id=event.event_id, room_id=event.room_id, reason=received.dropped)
        elif received.stored is not None and received.stored.standing is not Standing.ACCEPTED:
            stored = received.stored
            _log.info(
                "event not accepted", event_id=event.event_id, standing=stored.standing.value, reason=stored.reason
            )
        return received

    async def _through_the_checks(
        self, origin: str, event: Event, relay: Relay | None, under_way: frozenset[str]
    ) -> Received:
        """Steps 4 to 7. `under_way` are the events whose gaps are being filled."""
        stored = await self._events.find(event.event_id)
        if stored is not None and stored.position is not None:
            return Received(stored)
        if event.type == "m.room.create" and event.state_key == "":
            raise PduDropped("The room has its create event already.")
        if not event.prev_event_ids:
            raise PduDropped("The event follows on no other.")
        if under_way.intersection(event.prev_event_ids):
            raise PduDropped("The event follows on itself.")
        missing = await self._missing_prev_events(event)
        if missing and not under_way:
            await self._fill_gap(origin, event, under_way | {event.event_id})
            missing = await self._missing_prev_events(event)
        states = await self._states_after(origin, event, missing)
        by_auth_events = await self._auth_events.check(origin, event)
        room = await self._rooms.get(event.room_id)
        by_policy = await self._policy.check(event, room)
        return Received(await self._place.place(Candidate(event, by_auth_events, by_policy, states), relay))

    async def _missing_prev_events(self, event: Event) -> list[str]:
        known = await self._events.get_many(event.prev_event_ids)
        return [prev_id for prev_id in event.prev_event_ids if prev_id not in known or known[prev_id].position is None]

    async def _fill_gap(self, origin: str, event: Event, under_way: frozenset[str]) -> None:
        room = await self._rooms.get(event.room_id)
        fetched = await self._missing.fetch(origin, room, event)
        events, _ = await self._parse(room, [pdu for pdu in fetched if isinstance(pdu, dict)])
        events.pop(event.event_id, None)
        for earlier in in_graph_order(events):
            try:
                await self._through_the_checks(origin, earlier, None, under_way)
            except PduDropped as dropped:
                _log.info("missing event dropped", event_id=earlier.event_id, reason=str(dropped))

    async def _states_after(self, origin: str, event: Event, missing: Sequence[str]) -> dict[str, StateAt]:
        """The states after prev events that are not to be had, as other servers tell them."""
        if not missing:
            return {}
        if len(missing) > _MOST_GAPS:
            raise PduDropped("Too many of the events before this one are missing.")
        room = await self._rooms.get(event.room_id)
        servers = await self._joined.others(room, _MOST_SERVERS, first=origin)
        states = {}
        for prev_id in missing:
            try:
                state = await self._states.after(servers, room.version, room.room_id, prev_id)
            except NotForUs:
                if not self._puts_out(event):
                    raise
                # Who has been put out of a room is told so, and nothing more: then it is judged by what we know.
                states[prev_id] = StateAt(room.state_group)
            else:
                states[prev_id] = StateAt(room.state_group, difference(room.state, state))
        return states

    def _puts_out(self, event: Event) -> bool:
        """Whether the event ends the stay of one of our users."""
        if event.membership not in {"leave", "ban"} or event.state_key is None:
            return False
        return server_name_of(event.state_key) == self._server_name
