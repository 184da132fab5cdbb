"""`/make_leave`, and `/send_leave` in its first version.

Spec: server-server-api #leaving-rooms-rejecting-invites
"""

from __future__ import annotations

from typing import Any

from homeserver.protocol.errors import JsonValue
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver_federation.paths import v1
from homeserver_federation.rooms.member_events import MemberEvents
from homeserver_federation.rooms.templates import Templates


class LeavingV1Api:
    def __init__(self, templates: Templates, member_events: MemberEvents) -> None:
        self._templates = templates
        self._member_events = member_events

    @endpoint("GET", v1("/make_leave/{roomId}/{userId}"), auth=Auth.SERVER, operation="makeLeave", limit="federation")
    async def make_leave(self, request: Request, origin: str) -> JsonValue:
        return await self._templates.make(origin, "leave", request.path["roomId"], request.path["userId"], None)

    @endpoint(
        "PUT",
        v1("/send_leave/{roomId}/{eventId}"),
        auth=Auth.SERVER,
        operation="sendLeaveV1",
        limit="federation",
        body=dict,
    )
    async def send_leave(self, request: Request, origin: str, body: dict[str, Any]) -> JsonValue:
        await self._member_events.leave(origin, request.path["roomId"], request.path["eventId"], body)
        return [200, {}]
