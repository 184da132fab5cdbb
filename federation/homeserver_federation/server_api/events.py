"""`/event`, `/state`, `/state_ids` and `/timestamp_to_event`.

Spec: server-server-api #retrieving-events
"""

from __future__ import annotations

from homeserver.protocol.errors import JsonValue, missing_param
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver_federation.paths import v1
from homeserver_federation.rooms.serve_events import ServeEvents


class EventsApi:
    def __init__(self, events: ServeEvents) -> None:
        self._events = events

    @endpoint("GET", v1("/state/{roomId}"), auth=Auth.SERVER, operation="getRoomState", limit="federation")
    async def get_room_state(self, request: Request, origin: str) -> JsonValue:
        return await self._events.state(origin, request.path["roomId"], request.query_str("event_id"))

    @endpoint("GET", v1("/state_ids/{roomId}"), auth=Auth.SERVER, operation="getRoomStateIds", limit="federation")
    async def get_room_state_ids(self, request: Request, origin: str) -> JsonValue:
        return await self._events.state_ids(origin, request.path["roomId"], request.query_str("event_id"))

    @endpoint("GET", v1("/event/{eventId}"), auth=Auth.SERVER, operation="getEvent", limit="federation")
    async def get_event(self, request: Request, origin: str) -> JsonValue:
        return await self._events.event(origin, request.path["eventId"])

    @endpoint(
        "GET",
        v1("/timestamp_to_event/{roomId}"),
        auth=Auth.SERVER,
        operation="getEventByTimestamp",
        limit="federation",
    )
    async def get_event_by_timestamp(self, request: Request, origin: str) -> JsonValue:
        timestamp_ms = request.query_int("ts", minimum=0)
        if timestamp_ms is None:
            raise missing_param("The query parameter `ts` is missing.")
        forwards = request.query_choice("dir", ["f", "b"], "f") == "f"
        return await self._events.closest_to(origin, request.path["roomId"], timestamp_ms, forwards=forwards)
