"""`/send_leave`.

Spec: server-server-api #put_matrixfederationv2send_leaveroomideventid
"""

from __future__ import annotations

from typing import Any

from homeserver.protocol.errors import JsonValue
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver_federation.paths import v2
from homeserver_federation.rooms.member_events import MemberEvents


class LeavingV2Api:
    def __init__(self, member_events: MemberEvents) -> None:
        self._member_events = member_events

    @endpoint(
        "PUT",
        v2("/send_leave/{roomId}/{eventId}"),
        auth=Auth.SERVER,
        operation="sendLeaveV2",
        limit="federation",
        body=dict,
    )
    async def send_leave(self, request: Request, origin: str, body: dict[str, Any]) -> JsonValue:
        await self._member_events.leave(origin, request.path["roomId"], request.path["eventId"], body)
        return {}
