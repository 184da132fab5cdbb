"""`/backfill` and `/get_missing_events`.

Spec: server-server-api #backfilling-and-retrieving-missing-events
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from homeserver.protocol.errors import JsonValue, missing_param
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver_federation.paths import v1
from homeserver_federation.rooms.serve_events import MOST_BACKFILLED, ServeEvents

_MOST_STARTS = 50
EventIds = Annotated[list[str], msgspec.Meta(max_length=_MOST_STARTS)]


class MissingEventsBody(msgspec.Struct):
    """What `/get_missing_events` is asked with."""

    earliest_events: EventIds
    latest_events: EventIds
    limit: Annotated[int, msgspec.Meta(ge=0)] = 10
    min_depth: int = 0


class BackfillApi:
    def __init__(self, events: ServeEvents) -> None:
        self._events = events

    @endpoint("GET", v1("/backfill/{roomId}"), auth=Auth.SERVER, operation="backfillRoom", limit="federation")
    async def backfill_room(self, request: Request, origin: str) -> JsonValue:
        starts = request.query_list("v")[:_MOST_STARTS]
        if not starts:
            raise missing_param("The query parameter `v` is missing.")
        limit = request.query_int("limit", 10, minimum=0, maximum=MOST_BACKFILLED)
        return await self._events.backfill(origin, request.path["roomId"], starts, limit)

    @endpoint(
        "POST",
        v1("/get_missing_events/{roomId}"),
        auth=Auth.SERVER,
        operation="getMissingPreviousEvents",
        limit="federation",
        body=MissingEventsBody,
    )
    async def get_missing_events(self, request: Request, origin: str, body: MissingEventsBody) -> JsonValue:
        return await self._events.missing_events(
            origin, request.path["roomId"], body.earliest_events, body.latest_events, body.limit, body.min_depth
        )
