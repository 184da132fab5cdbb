"""`/account/password`: changing one's password, and resetting a forgotten one by an address of the account.

Spec: client-server-api #password-management
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from homeserver.client_api.paths import v3
from homeserver.protocol.errors import JsonValue, MatrixError, forbidden, missing_param, missing_token
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester
from homeserver.web.runner import check_body

if TYPE_CHECKING:
    from homeserver.services.accounts.accounts import Accounts
    from homeserver.services.accounts.passwords import Passwords
    from homeserver.services.accounts.user_interactive_auth import UserInteractiveAuth
    from homeserver.services.third_party_ids.password_reset import PasswordReset


class _PasswordBody(msgspec.Struct):
    new_password: str | None = None
    logout_devices: bool | None = None


class PasswordManagementApi:
    """`enabled` is off where passwords are kept elsewhere; `reset` is None where nobody has an address."""

    def __init__(
        self,
        accounts: Accounts,
        passwords: Passwords,
        interactive_auth: UserInteractiveAuth,
        *,
        enabled: bool = True,
        reset: PasswordReset | None = None,
    ) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._interactive_auth = interactive_auth
        self._enabled = enabled
        self._reset = reset

    @endpoint(
        "POST", v3("/account/password"), auth=Auth.OPTIONAL, operation="changePassword", limit="account", body=dict
    )
    async def change_password(self, request: Request, requester: Requester | None, body: dict[str, Any]) -> JsonValue:
        if requester is None and self._reset is None:
            raise missing_token()
        if requester is not None and requester.is_guest:
            raise MatrixError("M_GUEST_ACCESS_FORBIDDEN", "Guests have no password.", 403)
        if not self._enabled:
            raise forbidden("Passwords cannot be changed on this server.")
        check_body(body, _PasswordBody)
        new_password = body.get("new_password")
        if new_password is not None:
            self._passwords.check_policy(new_password)
        kept = {key: body[key] for key in ("logout_devices",) if key in body}
        auth = body.get("auth")
        if auth and new_password is None:
            raise missing_param("`new_password` is missing.")
        if requester is None:
            assert self._reset is not None
            await self._reset.reset(new_password, auth, kept, request.client_address)
            return {}
        user_id = requester.user_id
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
