"""OpenID tokens: a user hands one to another service, which asks this server whose it is.

Spec: client-server-api #openid
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from homeserver.protocol.errors import JsonValue, forbidden, invalid_param, unknown_token
from homeserver.protocol.identifiers import is_server_name, is_user_id, server_name_of
from homeserver.services.accounts.tokens import hash_token
from homeserver.storage.accounts import find_user
from homeserver.storage.openid_tokens import create_openid_token, find_openid_user

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.randomness import Randomness
    from homeserver.storage.database import Database

LIFETIME_MS = 3_600_000


class OpenIdTokens:
    """Makes tokens, and tells whose they are."""

    def __init__(self, server_name: str, database: Database, clock: Clock, randomness: Randomness) -> None:
        self._server_name = server_name
        self._database = database
        self._clock = clock
        self._randomness = randomness

    async def request(self, user_id: str) -> dict[str, JsonValue]:
        """A new token with what a client needs to pass it on."""
        token = self._randomness.token()
        now_ms = self._clock.now_ms()
        await self._database.write(create_openid_token, hash_token(token), user_id, now_ms + LIFETIME_MS, now_ms)
        return {
            "access_token": token,
            "token_type": "Bearer",
            "matrix_server_name": self._server_name,
            "expires_in": LIFETIME_MS // 1000,
        }

    async def get_user(self, token: str) -> str:
        """Whose token it is. M_UNKNOWN_TOKEN, also for users whose account is gone."""
        user_id = await self._database.read(find_openid_user, hash_token(token), self._clock.now_ms())
        if user_id is not None:
            user = await self._database.read(find_user, user_id)
            if user is not None and not user.deactivated:
                return user_id
        raise unknown_token("This token is unknown or has expired.")


class RemoteOpenIdUsers(Protocol):
    """How other servers are asked whose a token of theirs is; federation implements it."""

    async def fetch_user(self, server_name: str, token: str) -> str:
        """What that server says, unchecked; MatrixError if it does not know the token or does not answer."""


class NoRemoteOpenIdUsers:
    """What is asked when federation is off."""

    async def fetch_user(self, server_name: str, token: str) -> str:
        raise forbidden("Users of other servers are not known here: federation is off.")


class OpenIdUsers:
    """Whose a token is, whichever server made it: for services that run within this one."""

    def __init__(self, server_name: str, tokens: OpenIdTokens, remote: RemoteOpenIdUsers) -> None:
        self._server_name = server_name
        self._tokens = tokens
        self._remote = remote

    async def user_of(self, server_name: str, token: str) -> str:
        """The user. M_UNKNOWN_TOKEN if the token does not hold, also if its server vouches for users of another."""
        if not is_server_name(server_name):
            raise invalid_param("`matrix_server_name` is no server name.")
        if server_name == self._server_name:
            return await self._tokens.get_user(token)
        user_id = await self._remote.fetch_user(server_name, token)
        if not is_user_id(user_id) or server_name_of(user_id) != server_name:
            raise unknown_token("This token is not that of a user of its server.")
        return user_id
