"""`/voip/turnServer`: credentials for relaying calls.

Spec: client-server-api #get_matrixclientv3voipturnserver
"""

from __future__ import annotations

from homeserver.client_api.paths import v3
from homeserver.plugin_api.calls import TurnCredentialSource
from homeserver.protocol.errors import JsonValue
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester


class VoipApi:
    """`source` None: no plugin hands out credentials. Clients then get an empty object, as they expect."""

    def __init__(self, source: TurnCredentialSource | None) -> None:
        self._source = source

    @endpoint("GET", v3("/voip/turnServer"), auth=Auth.GUEST_OK, operation="getTurnServer", limit="account")
    async def get_turn_server(self, request: Request, requester: Requester) -> JsonValue:
        if self._source is None:
            return {}
        found = await self._source.credentials_for(requester.user_id, is_guest=requester.is_guest)
        if found is None:
            return {}
        return {
            "username": found.username,
            "password": found.password,
            "uris": list(found.uris),
            "ttl": found.ttl_ms // 1000,
        }
