"""A new password for somebody who has forgotten theirs, and reads the e-mail or the telephone of the account.

Spec: client-server-api #post_matrixclientv3accountpassword
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from homeserver.protocol.errors import MatrixError, forbidden, missing_param
from homeserver.services.third_party_ids.auth_stages import STAGES
from homeserver.storage import ui_auth

if TYPE_CHECKING:
    from homeserver.services.accounts.accounts import Accounts
    from homeserver.services.accounts.user_interactive_auth import UserInteractiveAuth
    from homeserver.services.third_party_ids.addresses import Addresses
    from homeserver.services.third_party_ids.validation import Validation
    from homeserver.storage.database import Database


class PasswordReset:
    """`stages` are those that this server has, of `m.login.email.identity` and `m.login.msisdn`."""

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        interactive_auth: UserInteractiveAuth,
        addresses: Addresses,
        validation: Validation,
        stages: Sequence[str],
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._interactive_auth = interactive_auth
        self._addresses = addresses
        self._validation = validation
        self._flows = [(stage,) for stage in stages]

    async def reset(self, new_password: str | None, auth: Any, body: Mapping[str, Any], address: str) -> None:
        """Set the password of the account that a confirmed address belongs to. The 401 of User-Interactive
        Authentication; M_THREEPID_NOT_FOUND, M_FORBIDDEN, M_WEAK_PASSWORD.
        """
        request = await self._interactive_auth.authorise("password", None, self._flows, auth, body, address)
        if new_password is None:
            raise missing_param("`new_password` is missing.")
        finding = next(request.completed[stage] for stage in STAGES if stage in request.completed)
        if await self._database.write(ui_auth.take_session, request.session_id) is None:
            raise forbidden("This session has authorised a request already.")
        if not await self._validation.use_up(finding["sid"]):
            raise forbidden("This address has authorised a request already.")
        user_id = await self._addresses.find_owner(finding["medium"], finding["address"])
        user = None if user_id is None else await self._accounts.find(user_id)
        if user is None or user.deactivated:
            raise MatrixError("M_THREEPID_NOT_FOUND", "No account here has this address.", 400)
        log_out = request.body.get("logout_devices") is not False
        await self._accounts.set_password(user.user_id, new_password, log_out=log_out)
