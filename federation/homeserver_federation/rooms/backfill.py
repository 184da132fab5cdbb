"""Fetches what happened in a room before this server came.

Spec: server-server-api #backfilling-and-retrieving-missing-events
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from homeserver.protocol.events import Event
from homeserver.protocol.receipt import Standing, Verdict
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import Room, Rooms
from homeserver.storage.database import Database
from homeserver.storage.events import StoredEvent
from homeserver.storage.remote_rooms import HistoricalEvent, load_backward_extremities, prepend_history
from homeserver.storage.room_state import StateDelta
from homeserver_federation.client import federation_path
from homeserver_federation.errors import FederationError
from homeserver_federation.inbound.check_auth_events import CheckAuthEvents
from homeserver_federation.inbound.check_format import PduDropped
from homeserver_federation.inbound.check_hashes import with_altered_redacted
from homeserver_federation.inbound.check_signatures import without_badly_signed
from homeserver_federation.inbound.check_state_before import check_state_before
from homeserver_federation.ports import ServerClient, SignatureChecks
from homeserver_federation.room_locks import RoomLocks
from homeserver_federation.rooms.graph_order import in_graph_order
from homeserver_federation.rooms.joined_servers import JoinedServers, is_resident
from homeserver_federation.rooms.outliers import Outliers, list_in
from homeserver_federation.rooms.redactions import Redactions
from homeserver_federation.rooms.room_states import RoomStates, StateAt, difference
from homeserver_federation.rooms.state_fetching import StateFetching

_MOST_EXTREMITIES = 20
_MOST_SERVERS = 3
_MOST_EVENTS = 100
_FEWEST_EVENTS = 20
_TIMEOUT_MS = 30_000
_log = structlog.get_logger("homeserver.federation.backfill")


class Backfill:
    """Puts older events in front of a room's timeline, with the state at each of them."""

    def __init__(
        self,
        database: Database,
        rooms: Rooms,
        events: EventStore,
        joined: JoinedServers,
        client: ServerClient,
        checks: SignatureChecks,
        outliers: Outliers,
        auth_events: CheckAuthEvents,
        fetching: StateFetching,
        states: RoomStates,
        redactions: Redactions,
    ) -> None:
        self._database = database
        self._rooms = rooms
        self._events = events
        self._joined = joined
        self._client = client
        self._checks = checks
        self._outliers = outliers
        self._auth_events = auth_events
        self._fetching = fetching
        self._states = states
        self._redactions = redactions
        # Of its own: a slow walk into the past must not hold up what happens now.
        self._locks = RoomLocks()

    async def backfill(self, room_id: str, limit: int) -> bool:
        """Fetch some history; True when there is more of it now than before."""
        async with self._locks.hold(room_id):
            room = await self._rooms.find(room_id)
            if room is None or not is_resident(room):
                return False
            ends = await self._database.read(load_backward_extremities, room_id, _MOST_EXTREMITIES)
            if not ends:
                return False
            wanted = [event_id for event_id, _ in ends]
            for server in await self._joined.others(room, _MOST_SERVERS):
                placed = await self._fetch_from(server, room, wanted, max(_FEWEST_EVENTS, min(limit, _MOST_EVENTS)))
                if placed:
                    return True
            return False

    async def _fetch_from(self, server: str, room: Room, wanted: Sequence[str], limit: int) -> int:
        path = federation_path("v1", "backfill", room.room_id)
        query = {"v": list(wanted), "limit": str(limit)}
        try:
            answer = await self._client.get(server, path, query, timeout_ms=_TIMEOUT_MS)
        except FederationError as error:
            _log.info("no history", room_id=room.room_id, server=server, reason=str(error))
            return 0
        parsed = await self._outliers.parse(room.version, room.room_id, list_in(answer, "pdus")[:_MOST_EVENTS])
        known = await self._events.get_many(parsed)
        new = {id_: event for id_, event in parsed.items() if id_ not in known or known[id_].position is None}
        signed, _ = await without_badly_signed(self._checks, new)
        history = await self._judge(server, room, with_altered_redacted(signed))
        if not history:
            return 0
        newest_first = history[::-1]
        placed = await self._database.write(prepend_history, room.room_id, newest_first)
        for item in newest_first:
            # In memory they may still be events without a place.
            self._events.cache.drop(item.event.event_id)
        return placed

    async def _judge(self, server: str, room: Room, events: Mapping[str, Event]) -> list[HistoricalEvent]:
        """The events with their standing and the state before them, oldest first."""
        after: dict[str, StateAt] = {}
        # Events between two changes of the state share one object, which is then stored once.
        shared: dict[int, tuple[StateAt, int | StateDelta]] = {}
        history: list[HistoricalEvent] = []
        known = await self._events.get_many({id_ for event in events.values() for id_ in event.prev_event_ids})
        for event in in_graph_order(events):
            try:
                before = await self._state_before(server, room, event, after, known)
                verdict = await self._verdict(server, event, before)
            except PduDropped as dropped:
                _log.info("event of the past dropped", event_id=event.event_id, reason=str(dropped))
                continue
            after[event.event_id] = before.after(event, verdict.standing)
            _, stored = shared.setdefault(id(before), (before, before.to_store))
            redacted_by = await self._redactions.find_waiting(event)
            history.append(HistoricalEvent(event, verdict.standing, verdict.reason, stored, redacted_by))
            if event.is_state and verdict.standing is Standing.ACCEPTED:
                # Later ones are judged by it.
                await self._outliers.store(room.room_id, [event])
        return history

    async def _state_before(
        self,
        server: str,
        room: Room,
        event: Event,
        after: Mapping[str, StateAt],
        known: Mapping[str, StoredEvent],
    ) -> StateAt:
        if event.event_id == room.state_id("m.room.create"):
            return StateAt(None)
        if not event.prev_event_ids:
            raise PduDropped("The event follows on no other.")
        states = []
        for prev_id in event.prev_event_ids:
            if prev_id in after:
                states.append(after[prev_id])
            elif prev_id in known and known[prev_id].position is not None:
                states.append(StateAt(known[prev_id].state_after))
        if len(states) == len(event.prev_event_ids):
            return await self._states.resolve(room.version, states)
        state = await self._fetching.before([server], room.version, room.room_id, event.event_id)
        return StateAt(room.state_group, difference(room.state, state))

    async def _verdict(self, server: str, event: Event, before: StateAt) -> Verdict:
        verdict = await self._auth_events.check(server, event)
        if verdict.standing is not Standing.ACCEPTED or event.type == "m.room.create":
            return verdict
        by_state, _ = await check_state_before(event, before, self._states, self._events)
        return by_state
