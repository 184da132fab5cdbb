"""`/appservice/{appserviceId}/ping`: services ask whether this server can reach them.

Spec: application-service-api #pinging-1
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from homeserver.client_api.paths import v1
from homeserver.protocol.errors import JsonValue
from homeserver.web.endpoint import endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

if TYPE_CHECKING:
    from homeserver.services.appservices.appservices import Appservices

_PATHS = [
    *v1("/appservice/{appserviceId}/ping"),
    "/_matrix/client/unstable/fi.mau.msc2659/appservice/{appserviceId}/ping",
]


class PingBody(msgspec.Struct):
    transaction_id: str | None = None


class AppservicePingApi:
    def __init__(self, appservices: Appservices) -> None:
        self._appservices = appservices

    @endpoint("POST", _PATHS, operation="pingAppservice", body=PingBody, optional_body=True)
    async def ping(self, request: Request, requester: Requester, body: PingBody) -> JsonValue:
        asked = request.path["appserviceId"]
        return {"duration_ms": await self._appservices.ping(asked, requester.appservice_id, body.transaction_id)}
