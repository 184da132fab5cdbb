"""Hands out tokens for codes and refresh tokens, and takes them back.

Everything that can be redeemed is redeemed once. A code or a refresh token that comes a second time was copied by
somebody: the session it led to ends.

Spec: client-server-api #grant-types, #token-revocation; RFC 6749 #section-5, RFC 7009
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from authlib.oauth2.rfc7636 import create_s256_code_challenge  # type: ignore[import-untyped]

from homeserver.protocol.errors import MatrixError
from homeserver.services.accounts.sessions import ClientDetails
from homeserver.services.accounts.tokens import hash_token
from homeserver.services.oauth_provider.client_metadata import (
    AUTHORIZATION_CODE,
    DEVICE_CODE,
    GRANT_TYPES,
    REFRESH_TOKEN,
)
from homeserver.services.oauth_provider.errors import (
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    OAuth2Error,
    UnsupportedGrantTypeError,
)
from homeserver.services.oauth_provider.scopes import is_within, parse_scope
from homeserver.storage import access_tokens, devices, oauth_codes, oauth_grants
from homeserver.storage.oauth_grants import Grant

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.runtime.clock import Clock
    from homeserver.services.accounts.sessions import Credentials, Sessions
    from homeserver.services.accounts.tokens import Tokens
    from homeserver.services.oauth_provider.clients import Client, OAuthClients
    from homeserver.services.oauth_provider.device_grants import DeviceGrants
    from homeserver.storage.database import Database, Transaction
    from homeserver.storage.devices import DeviceRows

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_log = structlog.get_logger("homeserver.oauth_provider")


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a request of a client came from."""

    address: str
    user_agent: str


class TokenEndpoint:
    """What clients ask without a browser: tokens, and their end. `rows` go with the devices that end."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        sessions: Sessions,
        tokens: Tokens,
        clients: OAuthClients,
        device_grants: DeviceGrants,
        rows: Sequence[DeviceRows],
    ) -> None:
        self._database = database
        self._clock = clock
        self._sessions = sessions
        self._tokens = tokens
        self._clients = clients
        self._device_grants = device_grants
        self._rows = rows

    async def exchange(self, form: Mapping[str, str], caller: Caller) -> dict[str, Any]:
        """The answer to a token request; OAuth2Error."""
        grant_type = form.get("grant_type")
        try:
            if not grant_type:
                raise InvalidRequestError("The grant_type is missing.")
            client = await self._clients.get(form.get("client_id"))
            redeem = {
                AUTHORIZATION_CODE: self._redeem_code,
                REFRESH_TOKEN: self._refresh,
                DEVICE_CODE: self._redeem_device_code,
            }.get(grant_type)
            if redeem is None:
                raise UnsupportedGrantTypeError("?")
            client.check_may_use(grant_type)
            return await redeem(client, form, caller)
        except OAuth2Error as error:
            if error.error != "authorization_pending":
                _log.info(
                    "token refused",
                    error=error.error,
                    grant_type=grant_type if grant_type in GRANT_TYPES else "other",
                    client_id=form.get("client_id", "")[:100],
                    address=caller.address,
                )
            raise

    async def revoke(self, form: Mapping[str, str], caller: Caller) -> None:
        """End the session behind a token, with all of its tokens; nothing happens if the token is not known.

        Whoever holds a token may end it, so that leaked ones can be reported by whoever finds them.
        """
        token = form.get("token")
        if not token:
            raise InvalidRequestError("The token is missing.")
        owner = await self._database.read(_find_owner, hash_token(token))
        if owner is None:
            return
        user_id, device_id = owner
        grant = await self._database.read(oauth_grants.find_grant, user_id, device_id)
        await self._end(user_id, device_id)
        client_id = form.get("client_id")
        by_itself = grant is not None and grant.client_id == client_id
        _log.info(
            "token revoked", user_id=user_id, device_id=device_id, by_its_client=by_itself, address=caller.address
        )

    async def _redeem_code(self, client: Client, form: Mapping[str, str], caller: Caller) -> dict[str, Any]:
        code_text, verifier = form.get("code"), form.get("code_verifier")
        if not code_text:
            raise InvalidRequestError("The code is missing.")
        if not verifier or _VERIFIER.fullmatch(verifier) is None:
            raise InvalidRequestError("The code_verifier is missing or malformed.")
        code = await self._database.write(oauth_codes.use_code, hash_token(code_text))
        if code is None or code.client_id != client.client_id:
            raise InvalidGrantError("The code is not valid.")
        if code.used:
            await self._end_copied(code.user_id, parse_scope(code.scope).device_id, client, "code")
            raise InvalidGrantError("The code has been used before.")
        if code.expires_ms <= self._clock.now_ms():
            raise InvalidGrantError("The code has expired.")
        if form.get("redirect_uri") != code.redirect_uri:
            raise InvalidGrantError("The redirect_uri is not that of the authorization request.")
        if not hmac.compare_digest(create_s256_code_challenge(verifier), code.code_challenge):
            raise InvalidGrantError("The code_verifier is wrong.")
        return await self._begin(client, code.user_id, code.scope, caller)

    async def _redeem_device_code(self, client: Client, form: Mapping[str, str], caller: Caller) -> dict[str, Any]:
        device_code = form.get("device_code")
        if not device_code:
            raise InvalidRequestError("The device_code is missing.")
        user_id, scope = await self._device_grants.redeem(client, device_code)
        return await self._begin(client, user_id, scope, caller)

    async def _begin(self, client: Client, user_id: str, scope: str, caller: Caller) -> dict[str, Any]:
        device_id = parse_scope(scope).device_id
        details = ClientDetails(device_id, client.name([]), True, caller.address, caller.user_agent)
        grant = Grant(user_id, device_id, client.client_id, scope, self._clock.now_ms())
        try:
            session = await self._sessions.begin(user_id, details, [_StoreGrant(grant).write])
        except MatrixError as refusal:
            raise InvalidGrantError(refusal.sentence) from None
        _log.info("oauth session begun", user_id=user_id, device_id=device_id, client_id=client.client_id)
        return _answer(session.credentials, scope)

    async def _refresh(self, client: Client, form: Mapping[str, str], caller: Caller) -> dict[str, Any]:
        refresh_token, wanted_scope = form.get("refresh_token"), form.get("scope")
        if not refresh_token:
            raise InvalidRequestError("The refresh_token is missing.")
        refresh_hash, now_ms = hash_token(refresh_token), self._clock.now_ms()
        if wanted_scope is not None:
            held = await self._database.read(oauth_grants.find_grant_of_refresh_token, refresh_hash)
            if held is not None and not is_within(wanted_scope, held.scope):
                raise InvalidScopeError("The scope exceeds what was granted.")
        credentials, pair = self._sessions.make_tokens(now_ms, can_refresh=True)
        rotation, grant = await self._database.write(
            oauth_grants.rotate, refresh_hash, client.client_id, pair, now_ms, self._rows
        )
        if grant is not None:
            self._tokens.forget_user(grant.user_id)
        if rotation.refused is not None or grant is None:
            if rotation.refused == "replaced" and grant is not None:
                _log_copied(grant.user_id, grant.device_id, client, "refresh token")
            raise InvalidGrantError("The refresh token is not valid.")
        return _answer(credentials, grant.scope)

    async def _end_copied(self, user_id: str, device_id: str, client: Client, what: str) -> None:
        grant = await self._database.read(oauth_grants.find_grant, user_id, device_id)
        if grant is not None and grant.client_id == client.client_id:
            await self._end(user_id, device_id)
        _log_copied(user_id, device_id, client, what)

    async def _end(self, user_id: str, device_id: str) -> None:
        await self._database.write(devices.delete_devices, user_id, [device_id], self._rows)
        self._tokens.forget_user(user_id)


class _StoreGrant:
    """Writes down a grant with the session it begins."""

    def __init__(self, grant: Grant) -> None:
        self._grant = grant

    def write(self, tx: Transaction) -> None:
        oauth_grants.store_grant(tx, self._grant)


def _find_owner(connection: Connection, token_hash: bytes) -> tuple[str, str] | None:
    """(user ID, device ID) behind an access token or a refresh token."""
    session = access_tokens.find_session(connection, token_hash)
    if session is not None and session.device_id is not None:
        return session.user_id, session.device_id
    return access_tokens.find_refresh_owner(connection, token_hash)


def _log_copied(user_id: str, device_id: str, client: Client, what: str) -> None:
    _log.warning(
        "used twice, session ended", what=what, user_id=user_id, device_id=device_id, client_id=client.client_id
    )


def _answer(credentials: Credentials, scope: str) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "access_token": credentials.access_token,
        "token_type": "Bearer",
        "refresh_token": credentials.refresh_token,
        "scope": scope,
    }
    if credentials.expires_in_ms is not None:
        answer["expires_in"] = credentials.expires_in_ms // 1000
    return answer
