"""`/invite`.

Spec: server-server-api #inviting-to-a-room
"""

from __future__ import annotations

from typing import Any

from homeserver.protocol.errors import JsonValue, missing_param
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver_federation.paths import v2
from homeserver_federation.rooms.receive_invite import ReceiveInvite


class InvitesV2Api:
    def __init__(self, receive: ReceiveInvite) -> None:
        self._receive = receive

    @endpoint(
        "PUT",
        v2("/invite/{roomId}/{eventId}"),
        auth=Auth.SERVER,
        operation="sendInviteV2",
        limit="remote_join",
        body=dict,
    )
    async def send_invite(self, request: Request, origin: str, body: dict[str, Any]) -> JsonValue:
        for name in ("room_version", "event"):
            if name not in body:
                raise missing_param(f"`{name}` is missing.")
        event = await self._receive.receive(
            origin,
            request.path["roomId"],
            request.path["eventId"],
            body["room_version"],
            body["event"],
            body.get("invite_room_state"),
        )
        return {"event": event}
