"""`/login/get_token`: a logged-in client vouches for another one.

Spec: client-server-api #post_matrixclientv1loginget_token
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homeserver.client_api.paths import v1
from homeserver.protocol.errors import JsonValue, unrecognized
from homeserver.web.endpoint import endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

if TYPE_CHECKING:
    from homeserver.services.accounts.login_methods import LoginTokens
    from homeserver.services.accounts.user_interactive_auth import UserInteractiveAuth


class LoginTokenApi:
    def __init__(self, login_tokens: LoginTokens, interactive_auth: UserInteractiveAuth) -> None:
        self._login_tokens = login_tokens
        self._interactive_auth = interactive_auth

    @endpoint(
        "POST",
        v1("/login/get_token"),
        operation="generateLoginToken",
        limit="account",
        body=dict,
        optional_body=True,
    )
    async def generate_login_token(self, request: Request, requester: Requester, body: dict[str, Any]) -> JsonValue:
        if not self._login_tokens.sessions_may_issue:
            raise unrecognized("This server does not issue login tokens to sessions.")
        user_id = requester.user_id
        auth = body.get("auth")
        await self._interactive_auth.authorise_account("get_token", user_id, auth, {}, request.client_address)
        token = await self._login_tokens.issue(user_id)
        return {"login_token": token, "expires_in_ms": int(self._login_tokens.lifetime_ms)}
