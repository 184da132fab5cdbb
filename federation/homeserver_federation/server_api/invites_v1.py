"""`/invite` in its first version, for rooms of the first two versions.

Spec: server-server-api #put_matrixfederationv1inviteroomideventid
"""

from __future__ import annotations

from typing import Any

from homeserver.protocol.errors import JsonValue
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver_federation.paths import v1
from homeserver_federation.rooms.receive_invite import ReceiveInvite, pdu_and_state

# A server that invites this way can only mean one of the first two versions; their events look the same.
_ROOM_VERSION = "1"


class InvitesV1Api:
    def __init__(self, receive: ReceiveInvite) -> None:
        self._receive = receive

    @endpoint(
        "PUT",
        v1("/invite/{roomId}/{eventId}"),
        auth=Auth.SERVER,
        operation="sendInviteV1",
        limit="remote_join",
        body=dict,
    )
    async def send_invite(self, request: Request, origin: str, body: dict[str, Any]) -> JsonValue:
        pdu, shown = pdu_and_state(body)
        path = request.path
        event = await self._receive.receive(origin, path["roomId"], path["eventId"], _ROOM_VERSION, pdu, shown)
        return [200, {"event": event}]
