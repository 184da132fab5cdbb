"""Asks other servers which event is nearest to a time, for rooms whose history is not all here.

Spec: server-server-api #get_matrixfederationv1timestamp_to_eventroomid
"""

from __future__ import annotations

from homeserver.services.remote_servers import EventInTime
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import Rooms
from homeserver.storage.database import Database
from homeserver.storage.remote_rooms import load_backward_extremities
from homeserver_federation.client import federation_path
from homeserver_federation.errors import FederationError
from homeserver_federation.ports import ServerClient
from homeserver_federation.rooms.backfill import Backfill
from homeserver_federation.rooms.joined_servers import JoinedServers, is_resident

_MOST_SERVERS = 3
_MOST_PAGES = 5
_EVENTS_IN_A_PAGE = 100
_TIMEOUT_MS = 10_000


class EventsInTime:
    """Finds such events, and tries to get the history down to them, so that clients can look around there."""

    def __init__(
        self,
        database: Database,
        rooms: Rooms,
        events: EventStore,
        joined: JoinedServers,
        client: ServerClient,
        backfill: Backfill,
    ) -> None:
        self._database = database
        self._rooms = rooms
        self._events = events
        self._joined = joined
        self._client = client
        self._backfill = backfill

    async def find(self, room_id: str, timestamp_ms: int, *, forwards: bool) -> EventInTime | None:
        """What the first of the other servers that knows one says; None where all history is here."""
        room = await self._rooms.find(room_id)
        if room is None or not is_resident(room):
            return None
        gaps = await self._database.read(load_backward_extremities, room_id, 1)
        if not gaps:
            return None
        path = federation_path("v1", "timestamp_to_event", room_id)
        query = {"ts": str(timestamp_ms), "dir": "f" if forwards else "b"}
        for server in await self._joined.others(room, _MOST_SERVERS):
            try:
                answer = await self._client.get(server, path, query, timeout_ms=_TIMEOUT_MS)
            except FederationError:
                continue
            found = _parse(answer, timestamp_ms, forwards=forwards)
            if found is not None:
                await self._fetch_down_to(room_id, found)
                return found
        return None

    async def _fetch_down_to(self, room_id: str, wanted: EventInTime) -> None:
        for _ in range(_MOST_PAGES):
            stored = await self._events.find(wanted.event_id)
            if stored is not None and stored.position is not None:
                return
            if not await self._backfill.backfill(room_id, _EVENTS_IN_A_PAGE):
                return


def _parse(answer: object, timestamp_ms: int, *, forwards: bool) -> EventInTime | None:
    if not isinstance(answer, dict):
        return None
    event_id, sent_ms = answer.get("event_id"), answer.get("origin_server_ts")
    if not isinstance(event_id, str) or not event_id.startswith("$") or type(sent_ms) is not int:
        return None
    is_on_that_side = sent_ms >= timestamp_ms if forwards else sent_ms <= timestamp_ms
    return EventInTime(event_id, sent_ms) if is_on_that_side else None
