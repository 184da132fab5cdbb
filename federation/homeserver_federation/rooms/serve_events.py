"""Tells other servers of events: single ones, those in a gap, those of the past, states and auth chains.

Spec: server-server-api #backfilling-and-retrieving-missing-events, #retrieving-events
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Sequence
from typing import Any

from homeserver.protocol.errors import forbidden, not_found
from homeserver.protocol.receipt import Standing
from homeserver.runtime.clock import Clock
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import Room
from homeserver.storage.database import Database
from homeserver.storage.events import StoredEvent, find_closest
from homeserver.storage.room_state import StateMap
from homeserver_federation.rooms.access import ServerAccess
from homeserver_federation.rooms.auth_chains import load_auth_chain
from homeserver_federation.rooms.room_states import RoomStates, StateAt
from homeserver_federation.rooms.server_visibility import ServerVisibility, wire_form

MOST_BACKFILLED = 100
MOST_MISSING = 20
_MOST_STEPS = 1_000


class ServeEvents:
    """The use cases behind `/event`, `/state`, `/event_auth`, `/backfill` and their like."""

    def __init__(
        self,
        database: Database,
        events: EventStore,
        access: ServerAccess,
        visibility: ServerVisibility,
        states: RoomStates,
        clock: Clock,
        server_name: str,
    ) -> None:
        self._database = database
        self._events = events
        self._access = access
        self._visibility = visibility
        self._states = states
        self._clock = clock
        self._server_name = server_name

    async def event(self, origin: str, event_id: str) -> dict[str, Any]:
        """One event, as a transaction of one."""
        stored = await self._events.find(event_id)
        if stored is None or stored.standing is Standing.REJECTED:
            raise not_found("There is no such event.")
        await self._access.room_for(origin, stored.event.room_id, though_left=True)
        # Outliers are known as parts of states and auth chains, which no server in the room is denied.
        if stored.position is None and not stored.event.is_state:
            raise not_found("There is no such event.")
        [pdu] = [wire_form(stored)] if stored.position is None else await self._visibility.wire_forms(origin, [stored])
        return self._transaction([pdu])

    async def state(self, origin: str, room_id: str, event_id: str) -> dict[str, Any]:
        """The state before an event, with its auth chain."""
        state = await self._state_before(origin, room_id, event_id)
        held = list((await self._events.get_many(state.values())).values())
        chain = await self._database.read(load_auth_chain, [stored.event for stored in held])
        return {"auth_chain": [wire_form(stored) for stored in chain.values()], "pdus": [*map(wire_form, held)]}

    async def state_ids(self, origin: str, room_id: str, event_id: str) -> dict[str, Any]:
        """The same by IDs."""
        state = await self._state_before(origin, room_id, event_id)
        held = [stored.event for stored in (await self._events.get_many(state.values())).values()]
        chain = await self._database.read(load_auth_chain, held)
        return {"auth_chain_ids": list(chain), "pdu_ids": list(state.values())}

    async def event_auth(self, origin: str, room_id: str, event_id: str) -> dict[str, Any]:
        """The auth chain of an event."""
        await self._access.room_for(origin, room_id, though_left=True)
        stored = await self._events.find(event_id)
        if stored is None or stored.event.room_id != room_id:
            raise not_found("There is no such event in this room.")
        chain = await self._database.read(load_auth_chain, [stored.event])
        return {"auth_chain": [wire_form(stored) for stored in chain.values()]}

    async def backfill(self, origin: str, room_id: str, event_ids: Sequence[str], limit: int) -> dict[str, Any]:
        """Up to `limit` events that precede the given ones, and these, newest first."""
        room = await self._access.room_for(origin, room_id, though_left=True)
        found = await self._walk(room, event_ids, min(limit, MOST_BACKFILLED))
        return self._transaction(await self._visibility.wire_forms(origin, found))

    async def missing_events(
        self,
        origin: str,
        room_id: str,
        earliest: Collection[str],
        latest: Collection[str],
        limit: int,
        min_depth: int,
    ) -> dict[str, Any]:
        """The events between `earliest` and `latest`, without either, oldest first, at most `limit`."""
        room = await self._access.room_for(origin, room_id, though_left=True)
        seen = {*earliest, *latest}
        level = [*latest]
        found: list[StoredEvent] = []
        most = min(limit, MOST_MISSING)
        while level and len(found) < most:
            prev_ids: dict[str, None] = {}
            for stored in (await self._in_room(room, level)).values():
                prev_ids.update((prev_id, None) for prev_id in stored.event.prev_event_ids if prev_id not in seen)
            seen.update(prev_ids)
            before = await self._in_room(room, list(prev_ids))
            wanted = [before[id_] for id_ in prev_ids if id_ in before and before[id_].event.depth >= min_depth]
            found.extend(wanted)
            level = [stored.event_id for stored in wanted]
        found = sorted(found[:most], key=lambda stored: stored.event.depth)
        return {"events": await self._visibility.wire_forms(origin, found)}

    async def closest_to(self, origin: str, room_id: str, timestamp_ms: int, *, forwards: bool) -> dict[str, Any]:
        """The event sent nearest to a time. Raises M_NOT_FOUND."""
        await self._access.room_for(origin, room_id)
        found = await self._database.read(find_closest, room_id, timestamp_ms, forwards=forwards)
        if found is None or not await self._visibility.may_see(origin, found):
            raise not_found("There is no event on that side of this time.")
        return {"event_id": found.event_id, "origin_server_ts": found.event.origin_server_ts}

    async def _state_before(self, origin: str, room_id: str, event_id: str) -> StateMap:
        await self._access.room_for(origin, room_id, though_left=True)
        stored = await self._events.find(event_id)
        if stored is None or stored.position is None or stored.event.room_id != room_id:
            raise not_found("The state at this event is not known here.")
        if stored.state_before is None:
            if stored.event.type == "m.room.create":
                return {}
            raise not_found("The state at this event is not known here.")
        if not await self._visibility.may_see(origin, stored):
            raise forbidden("Your server may not see this event.")
        return await self._states.load(StateAt(stored.state_before))

    async def _walk(self, room: Room, starts: Sequence[str], limit: int) -> list[StoredEvent]:
        """The graph backwards from `starts`, deepest events first."""
        queue: list[tuple[int, str, StoredEvent]] = []
        seen = set(starts)
        for stored in (await self._in_room(room, starts)).values():
            heapq.heappush(queue, (-stored.event.depth, stored.event_id, stored))
        found: list[StoredEvent] = []
        for _ in range(_MOST_STEPS):
            if not queue or len(found) >= limit:
                break
            stored = heapq.heappop(queue)[2]
            found.append(stored)
            prev_ids = [prev_id for prev_id in stored.event.prev_event_ids if prev_id not in seen]
            seen.update(prev_ids)
            for before in (await self._in_room(room, prev_ids)).values():
                heapq.heappush(queue, (-before.event.depth, before.event_id, before))
        return found

    async def _in_room(self, room: Room, event_ids: Collection[str]) -> dict[str, StoredEvent]:
        return {
            event_id: stored
            for event_id, stored in (await self._events.get_many(event_ids)).items()
            if stored.event.room_id == room.room_id
            and stored.position is not None
            and stored.standing is not Standing.REJECTED
        }

    def _transaction(self, pdus: list[dict[str, Any]]) -> dict[str, Any]:
        return {"origin": self._server_name, "origin_server_ts": self._clock.now_ms(), "pdus": pdus}
