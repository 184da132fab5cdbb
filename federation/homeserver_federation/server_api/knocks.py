"""`/make_knock` and `/send_knock`.

Spec: server-server-api #knocking-rooms
"""

from __future__ import annotations

from typing import Any

from homeserver.protocol.errors import JsonValue
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver_federation.paths import v1
from homeserver_federation.rooms.member_events import MemberEvents
from homeserver_federation.rooms.templates import Templates


class KnocksApi:
    def __init__(self, templates: Templates, member_events: MemberEvents) -> None:
        self._templates = templates
        self._member_events = member_events

    @endpoint("GET", v1("/make_knock/{roomId}/{userId}"), auth=Auth.SERVER, operation="makeKnock", limit="remote_join")
    async def make_knock(self, request: Request, origin: str) -> JsonValue:
        versions = request.query_list("ver")
        return await self._templates.make(origin, "knock", request.path["roomId"], request.path["userId"], versions)

    @endpoint(
        "PUT",
        v1("/send_knock/{roomId}/{eventId}"),
        auth=Auth.SERVER,
        operation="sendKnock",
        limit="remote_join",
        body=dict,
    )
    async def send_knock(self, request: Request, origin: str, body: dict[str, Any]) -> JsonValue:
        return await self._member_events.knock(origin, request.path["roomId"], request.path["eventId"], body)
