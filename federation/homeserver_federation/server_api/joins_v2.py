"""`/send_join`.

Spec: server-server-api #put_matrixfederationv2send_joinroomideventid
"""

from __future__ import annotations

from typing import Any

from homeserver.protocol.errors import JsonValue
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver_federation.paths import v2
from homeserver_federation.rooms.member_events import MemberEvents


class JoinsV2Api:
    def __init__(self, member_events: MemberEvents) -> None:
        self._member_events = member_events

    @endpoint(
        "PUT",
        v2("/send_join/{roomId}/{eventId}"),
        auth=Auth.SERVER,
        operation="sendJoinV2",
        limit="remote_join",
        body=dict,
    )
    async def send_join(self, request: Request, origin: str, body: dict[str, Any]) -> JsonValue:
        path = request.path
        omit_members = request.query_bool("omit_members")
        return await self._member_events.join(origin, path["roomId"], path["eventId"], body, omit_members=omit_members)
