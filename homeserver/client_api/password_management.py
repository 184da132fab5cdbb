"""`/account/password`: changing one's password.

Spec: client-server-api #password-management
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from homeserver.client_api.paths import v3
from homeserver.protocol.errors import JsonValue, forbidden, missing_param
from homeserver.web.endpoint import endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester
from homeserver.web.runner import check_body

if TYPE_CHECKING:
    from homeserver.services.accounts.accounts import Accounts
    from homeserver.services.accounts.passwords import Passwords
    from homeserver.services.accounts.user_interactive_auth import UserInteractiveAuth


class _PasswordBody(msgspec.Struct):
    new_password: str | None = None
    logout_devices: bool | None = None


class PasswordManagementApi:
    """`enabled` is off where passwords are kept elsewhere."""

    def __init__(
        self, accounts: Accounts, passwords: Passwords, interactive_auth: UserInteractiveAuth, *, enabled: bool = True
    ) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._interactive_auth = interactive_auth
        self._enabled = enabled

    @endpoint("POST", v3("/account/password"), operation="changePassword", limit="account", body=dict)
    async def change_password(self, request: Request, requester: Requester, body: dict[str, Any]) -> JsonValue:
        if not self._enabled:
            raise forbidden("Passwords cannot be changed on this server.")
        check_body(body, _PasswordBody)
        new_password = body.get("new_password")
        if new_password is not None:
            self._passwords.check_policy(new_password)
        kept = {key: body[key] for key in ("logout_devices",) if key in body}
        user_id = requester.user_id
        auth = body.get("auth")
        if auth and new_password is None:
            raise missing_param("`new_password` is missing.")
        authorised = await self._interactive_auth.authorise_account(
            "password", user_id, auth, kept, request.client_address
        )
        if new_password is None:
            raise missing_param("`new_password` is missing.")
        log_out = authorised.body.get("logout_devices")
        await self._accounts.set_password(
            user_id, new_password, log_out=log_out is not False, keep_device=requester.device_id
        )
        return {}
