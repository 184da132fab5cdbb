"""`/openid/userinfo`: whose an OpenID token is, for services that users prove themselves to.

Spec: server-server-api #openid
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from homeserver.protocol.errors import JsonValue, missing_token
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver_federation.paths import v1

if TYPE_CHECKING:
    from homeserver.services.openid import OpenIdTokens


class OpenidApi:
    def __init__(self, tokens: OpenIdTokens) -> None:
        self._tokens = tokens

    @endpoint("GET", v1("/openid/userinfo"), auth=Auth.NONE, operation="exchangeOpenIdToken", limit="federation")
    async def exchange_open_id_token(self, request: Request) -> JsonValue:
        token = request.find_query("access_token")
        if not token:
            raise missing_token()
        return {"sub": await self._tokens.get_user(token)}
