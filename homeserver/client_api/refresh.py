"""`/refresh`: a new access token for a refresh token.

Spec: client-server-api #refreshing-access-tokens
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from homeserver.client_api.paths import v3
from homeserver.protocol.errors import JsonValue
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request

if TYPE_CHECKING:
    from homeserver.services.accounts.sessions import Sessions


class RefreshBody(msgspec.Struct):
    refresh_token: str


class RefreshApi:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @endpoint("POST", v3("/refresh"), auth=Auth.NONE, operation="refresh", limit="login_address", body=RefreshBody)
    async def refresh(self, request: Request, body: RefreshBody) -> JsonValue:
        return (await self._sessions.refresh(body.refresh_token)).as_json()
