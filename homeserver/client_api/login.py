"""`/login`: the ways to log in, and logging in.

Spec: client-server-api #legacy-login
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from homeserver.client_api.paths import v3
from homeserver.protocol.errors import JsonValue
from homeserver.services.accounts.ports import LoginRequest
from homeserver.services.accounts.sessions import client_details
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.runner import check_body

if TYPE_CHECKING:
    from homeserver.services.accounts.sessions import Sessions


class _LoginBody(msgspec.Struct):
    type: str
    device_id: str | None = None
    initial_device_display_name: str | None = None
    refresh_token: bool | None = None


class LoginApi:
    """`well_known` is the content of `/.well-known/matrix/client` to send along, None for none."""

    def __init__(self, sessions: Sessions, well_known: dict[str, Any] | None) -> None:
        self._sessions = sessions
        self._well_known = well_known

    @endpoint("GET", v3("/login"), auth=Auth.NONE, operation="getLoginFlows")
    async def get_login_flows(self, request: Request) -> JsonValue:
        return {"flows": self._sessions.flows()}

    @endpoint("POST", v3("/login"), auth=Auth.NONE, operation="login", limit="login_address", body=dict)
    async def login(self, request: Request, body: dict[str, Any]) -> JsonValue:
        check_body(body, _LoginBody)
        client = client_details(body, request.client_address, request.user_agent)
        login = LoginRequest(body, request.client_address, request.access_token)
        session = await self._sessions.login(login, client)
        answer = session.as_json()
        if self._well_known is not None:
            answer["well_known"] = self._well_known
        return answer
