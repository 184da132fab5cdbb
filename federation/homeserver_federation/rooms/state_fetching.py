"""The state at events that this server does not have, as other servers tell it.

Spec: server-server-api #get_matrixfederationv1state_idsroomid
"""

from __future__ import annotations

from collections.abc import Sequence

from homeserver.protocol.event_builder import auth_state_keys
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.receipt import Standing, judge_by_state_before
from homeserver.protocol.room_versions import RoomVersion
from homeserver.services.rooms.event_store import EventStore
from homeserver.storage.room_state import StateMap
from homeserver_federation.client import federation_path
from homeserver_federation.errors import FederationError, RemoteServerError
from homeserver_federation.inbound.check_format import NotForUs, NotToBeHad, PduDropped
from homeserver_federation.ports import ServerClient
from homeserver_federation.rooms.outliers import Outliers, list_in

_TIMEOUT_MS = 60_000
_FEW = 50
_MOST_EVENTS = 200_000
_CREATE: StateKey = ("m.room.create", "")


class StateFetching:
    """Fetches states. What it returns has been checked as far as an outlier can be."""

    def __init__(self, events: EventStore, client: ServerClient, outliers: Outliers) -> None:
        self._events = events
        self._client = client
        self._outliers = outliers

    async def after(self, servers: Sequence[str], version: RoomVersion, room_id: str, event_id: str) -> StateMap:
        """The state after an event. Raises NotToBeHad when no server gives one, NotForUs when the first refuses."""
        state = await self.before(servers, version, room_id, event_id)
        event = await self._find_event(servers, version, room_id, event_id)
        if event is None:
            raise NotToBeHad(f"The event {event_id} cannot be fetched.")
        if event.is_state and await self._is_allowed(event, state):
            state[event.key] = event_id
        return state

    async def before(self, servers: Sequence[str], version: RoomVersion, room_id: str, event_id: str) -> StateMap:
        """The state before an event. Raises NotToBeHad when no server gives one, NotForUs when the first refuses."""
        failures: list[FederationError] = []
        for server in servers:
            try:
                return await self._fetch(server, version, room_id, event_id)
            except FederationError as error:
                failures.append(error)
        sentence = f"No server tells the state of the room at {event_id}."
        if failures and isinstance(failures[0], RemoteServerError) and failures[0].status == 403:
            raise NotForUs(sentence)
        raise NotToBeHad(sentence)

    async def _fetch(self, server: str, version: RoomVersion, room_id: str, event_id: str) -> StateMap:
        path = federation_path("v1", "state_ids", room_id)
        answer = await self._client.get(server, path, {"event_id": event_id}, timeout_ms=_TIMEOUT_MS)
        state_ids = [id_ for id_ in list_in(answer, "pdu_ids") if isinstance(id_, str)][:_MOST_EVENTS]
        auth_ids = [id_ for id_ in list_in(answer, "auth_chain_ids") if isinstance(id_, str)][:_MOST_EVENTS]
        wanted = {*state_ids, *auth_ids}
        missing = wanted - (await self._events.get_many(wanted)).keys()
        if len(missing) > _FEW:
            await self._fetch_whole(server, version, room_id, event_id)
        elif missing:
            await self._outliers.fetch([server], version, room_id, missing, all_of_them=True)
        return await self._state_of(room_id, state_ids)

    async def _fetch_whole(self, server: str, version: RoomVersion, room_id: str, event_id: str) -> None:
        path = federation_path("v1", "state", room_id)
        answer = await self._client.get(server, path, {"event_id": event_id}, timeout_ms=_TIMEOUT_MS)
        pdus = [*list_in(answer, "auth_chain"), *list_in(answer, "pdus")][:_MOST_EVENTS]
        checked = await self._outliers.check(version, room_id, pdus, all_of_them=True)
        await self._outliers.store(room_id, checked.values())

    async def _state_of(self, room_id: str, state_ids: Sequence[str]) -> StateMap:
        state: StateMap = {}
        for event_id, stored in (await self._events.get_many(state_ids)).items():
            event = stored.event
            if event.state_key is None or event.room_id != room_id or stored.standing is Standing.REJECTED:
                continue
            if event.key in state:
                raise PduDropped("The other server tells a state with two events for one entry.")
            state[event.key] = event_id
        if _CREATE not in state:
            raise PduDropped("The other server tells a state without a create event.")
        return state

    async def _find_event(
        self, servers: Sequence[str], version: RoomVersion, room_id: str, event_id: str
    ) -> Event | None:
        stored = await self._events.find(event_id)
        if stored is not None:
            return stored.event if stored.standing is not Standing.REJECTED else None
        return (await self._outliers.fetch(servers, version, room_id, [event_id])).get(event_id)

    async def _is_allowed(self, event: Event, state: StateMap) -> bool:
        held = await self._events.get_state(state, [*auth_state_keys(event, event.room_version), _CREATE])
        return judge_by_state_before(event, held, held.get(_CREATE)).standing is Standing.ACCEPTED
