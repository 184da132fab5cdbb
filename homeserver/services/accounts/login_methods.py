"""The ways to log in that come along: with a password, and with a login token.

Spec: client-server-api #legacy-login
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homeserver.protocol.errors import bad_json, forbidden, missing_param
from homeserver.services.accounts.tokens import hash_token
from homeserver.services.accounts.user_ids import find_user_ids
from homeserver.services.third_party_ids.ports import AddressOwners, NoAddresses
from homeserver.storage import login_tokens

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.randomness import Randomness
    from homeserver.services.accounts.password_check import PasswordCheck
    from homeserver.services.accounts.ports import LoginRequest
    from homeserver.services.rate_limiter import RateLimits
    from homeserver.storage.database import Database


class PasswordLogin:
    """`m.login.password`."""

    flow: dict[str, Any] = {"type": "m.login.password"}  # noqa: RUF012 - read only

    def __init__(
        self, server_name: str, check: PasswordCheck, limits: RateLimits, owners: AddressOwners | None = None
    ) -> None:
        self._server_name = server_name
        self._check = check
        self._limits = limits
        self._owners = owners or NoAddresses()

    async def login(self, request: LoginRequest) -> str:
        password = _text(request, "password")
        user_ids = await find_user_ids(request.body, self._server_name, self._owners)
        self._limits.take("login_account", user_ids[-1])
        user = await self._check.check(user_ids, password, request.address)
        return user.user_id


class LoginTokens:
    """`m.login.token`: short-lived tokens for one login each, issued here or by a plugin after single sign-on."""

    def __init__(
        self, database: Database, clock: Clock, randomness: Randomness, lifetime_ms: int, *, sessions_may_issue: bool
    ) -> None:
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self.lifetime_ms = lifetime_ms
        self.sessions_may_issue = sessions_may_issue

    @property
    def flow(self) -> dict[str, Any]:
        flow: dict[str, Any] = {"type": "m.login.token"}
        if self.sessions_may_issue:
            flow["get_login_token"] = True
        return flow

    async def issue(self, user_id: str) -> str:
        """A token that logs this user in once."""
        token = "stl_" + self._randomness.token()
        expires_ms = self._clock.now_ms() + self.lifetime_ms
        await self._database.write(login_tokens.create_login_token, hash_token(token), user_id, expires_ms)
        return token

    async def login(self, request: LoginRequest) -> str:
        token_hash = hash_token(_text(request, "token"))
        user_id = await self._database.write(login_tokens.take_login_token, token_hash, self._clock.now_ms())
        if user_id is None:
            raise forbidden("This login token is not valid.")
        return user_id


def _text(request: LoginRequest, key: str) -> str:
    value = request.body.get(key)
    if value is None:
        raise missing_param(f"`{key}` is missing.")
    if not isinstance(value, str):
        raise bad_json(f"`{key}` must be a string.")
    return value
