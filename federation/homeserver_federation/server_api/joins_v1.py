"""`/make_join`, and `/send_join` in its first version.

Spec: server-server-api #joining-rooms
"""

from __future__ import annotations

from typing import Any

from homeserver.protocol.errors import JsonValue
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver_federation.paths import v1
from homeserver_federation.rooms.member_events import MemberEvents
from homeserver_federation.rooms.templates import Templates


class JoinsV1Api:
    def __init__(self, templates: Templates, member_events: MemberEvents) -> None:
        self._templates = templates
        self._member_events = member_events

    @endpoint("GET", v1("/make_join/{roomId}/{userId}"), auth=Auth.SERVER, operation="makeJoin", limit="remote_join")
    async def make_join(self, request: Request, origin: str) -> JsonValue:
        versions = request.query_list("ver") or ["1"]
        return await self._templates.make(origin, "join", request.path["roomId"], request.path["userId"], versions)

    @endpoint(
        "PUT",
        v1("/send_join/{roomId}/{eventId}"),
        auth=Auth.SERVER,
        operation="sendJoinV1",
        limit="remote_join",
        body=dict,
    )
    async def send_join(self, request: Request, origin: str, body: dict[str, Any]) -> JsonValue:
        path = request.path
        return [200, await self._member_events.join(origin, path["roomId"], path["eventId"], body)]
