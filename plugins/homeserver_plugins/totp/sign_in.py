"""Asks for the second factor wherever a password is asked for: at login, and to confirm what is sensitive.
Clients that know nothing of it work too: the code is typed right after the password.

Spec: client-server-api #password-based
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from homeserver.plugin_api import (
    Account,
    AuthAttempt,
    LoginRequest,
    MatrixError,
    PluginContext,
    StageFinding,
    bad_json,
    forbidden,
)
from homeserver_plugins.totp.factors import Factors

FIELD = "org.starling.totp"
_PASSWORD = "m.login.password"  # noqa: S105 - the name of a login type
# A code of the app, or a recovery code, at the end of a password.
_TYPED_AFTER = re.compile(r"(?s)(.*?)\s?(\d{6}|(?:[a-z2-7]{4}-){3}[a-z2-7]{4})")


class TwoFactors:
    """A password and, from those who have one, a second factor."""

    def __init__(self, context: PluginContext, factors: Factors) -> None:
        self._accounts = context.accounts
        self._factors = factors

    async def check(self, login: Mapping[str, Any], address: str) -> Account:
        code = login.get(FIELD)
        if code is not None and not isinstance(code, str):
            raise bad_json(f"`{FIELD}` must be a string.")
        password = login.get("password")
        if code is None and isinstance(password, str) and await self._is_enrolled(login):
            typed = _TYPED_AFTER.fullmatch(password)
            if typed is not None:
                login, code = {**login, "password": typed[1]}, typed[2]
        account = await self._accounts.check_password(login, address)
        if await self._factors.is_enabled(account.user_id):
            if code is None:
                sentence = "A code of your authenticator app is needed. Type it right after your password."
                raise MatrixError("M_FORBIDDEN", sentence, 403, extra={FIELD: {"needed": True}})
            await self._factors.check(account.user_id, code)
        return account

    async def _is_enrolled(self, login: Mapping[str, Any]) -> bool:
        """Whether the user named has a second factor; those named by an address are asked for `FIELD`."""
        identifier = login.get("identifier")
        user = identifier.get("user") if isinstance(identifier, dict) else login.get("user")
        if not isinstance(user, str):
            return False
        for spelling in dict.fromkeys((user, user.lower())):
            user_id = spelling if spelling.startswith("@") else self._accounts.user_id_of(spelling)
            if await self._factors.is_enabled(user_id):
                return True
        return False


class TwoFactorLogin:
    """The login method. Implements `LoginMethod`."""

    flow: dict[str, Any] = {"type": _PASSWORD}  # noqa: RUF012 - read only

    def __init__(self, both: TwoFactors) -> None:
        self._both = both

    async def login(self, request: LoginRequest) -> str:
        return (await self._both.check(request.body, request.address)).user_id


class TwoFactorStage:
    """The stage that confirms sensitive requests. Implements `AuthStage`."""

    stage_type = _PASSWORD
    proves_account = True
    for_registration = False

    def __init__(self, context: PluginContext, both: TwoFactors) -> None:
        self._context = context
        self._both = both

    async def is_available_to(self, user_id: str) -> bool:
        return await self._context.accounts.has_password(user_id)

    async def params(self) -> dict[str, Any] | None:
        return None

    async def check(self, attempt: AuthAttempt) -> StageFinding:
        login = attempt.auth
        if "identifier" not in login and "user" not in login and attempt.user_id is not None:
            login = {**login, "identifier": {"type": "m.id.user", "user": attempt.user_id}}
        account = await self._both.check(login, attempt.address)
        if attempt.user_id is not None and account.user_id != attempt.user_id:
            raise forbidden("This is the password of another account.")
        return StageFinding({"user_id": account.user_id})
