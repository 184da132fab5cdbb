"""`/openid/request_token`: tokens by which users prove to other services who they are.

Spec: client-server-api #openid
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homeserver.client_api.paths import v3
from homeserver.protocol.errors import JsonValue, forbidden
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

if TYPE_CHECKING:
    from homeserver.services.openid import OpenIdTokens


class OpenIdApi:
    def __init__(self, tokens: OpenIdTokens) -> None:
        self._tokens = tokens

    @endpoint(
        "POST",
        v3("/user/{userId}/openid/request_token"),
        auth=Auth.GUEST_OK,
        operation="requestOpenIdToken",
        limit="account",
        body=dict,
        optional_body=True,
    )
    async def request_token(self, request: Request, requester: Requester, body: dict[str, Any]) -> JsonValue:
        if request.path["userId"] != requester.user_id:
            raise forbidden("You can request a token for yourself only.")
        return await self._tokens.request(requester.user_id)
