"""Fills gaps between the ends of the graph known here and an event that has just come.

Spec: server-server-api #backfilling-and-retrieving-missing-events
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from homeserver.protocol.events import Event
from homeserver.services.rooms.room import Room
from homeserver.storage.database import Database
from homeserver.storage.remote_rooms import find_least_depth
from homeserver_federation.client import federation_path
from homeserver_federation.errors import FederationError
from homeserver_federation.ports import ServerClient
from homeserver_federation.rooms.outliers import list_in

MOST_MISSING = 20
_TIMEOUT_MS = 30_000
_log = structlog.get_logger("homeserver.federation.missing_events")


class MissingEvents:
    """Asks a server for what lies in between."""

    def __init__(self, database: Database, client: ServerClient) -> None:
        self._database = database
        self._client = client

    async def fetch(self, server: str, room: Room, event: Event) -> Sequence[object]:
        """PDUs that precede the event and follow on what is known, unchecked; none when the server does not answer."""
        body = {
            "earliest_events": [extremity.event_id for extremity in room.extremities],
            "latest_events": [event.event_id],
            "limit": MOST_MISSING,
            # What lies before our time in the room is history, to be fetched when somebody reads back.
            "min_depth": await self._database.read(find_least_depth, room.room_id),
        }
        path = federation_path("v1", "get_missing_events", room.room_id)
        try:
            answer = await self._client.post(server, path, body, timeout_ms=_TIMEOUT_MS)
        except FederationError as error:
            _log.info("missing events not fetched", room_id=room.room_id, reason=str(error))
            return []
        return list_in(answer, "events")[:MOST_MISSING]
