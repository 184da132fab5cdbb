"""`/event_auth`: all an event rests on.

Spec: server-server-api #retrieving-event-authorisation-information
"""

from __future__ import annotations

from homeserver.protocol.errors import JsonValue
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver_federation.paths import v1
from homeserver_federation.rooms.serve_events import ServeEvents


class EventAuthApi:
    def __init__(self, events: ServeEvents) -> None:
        self._events = events

    @endpoint(
        "GET", v1("/event_auth/{roomId}/{eventId}"), auth=Auth.SERVER, operation="getEventAuth", limit="federation"
    )
    async def get_event_auth(self, request: Request, origin: str) -> JsonValue:
        return await self._events.event_auth(origin, request.path["roomId"], request.path["eventId"])
