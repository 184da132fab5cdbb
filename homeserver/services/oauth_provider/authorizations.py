"""The authorization request: checked, then granted by its user with a code for the client, or refused.

Spec: client-server-api #authorisation-code-flow; RFC 6749 #section-4.1, RFC 7636 (PKCE), RFC 9207 (`iss`)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import structlog

from homeserver.protocol.errors import invalid_param
from homeserver.services.accounts.tokens import hash_token
from homeserver.services.oauth_provider.client_metadata import AUTHORIZATION_CODE, is_registered
from homeserver.services.oauth_provider.errors import (
    AccessDeniedError,
    InvalidRequestError,
    OAuth2Error,
    UnsupportedResponseTypeError,
)
from homeserver.services.oauth_provider.scopes import DeviceScope, parse_scope
from homeserver.storage import oauth_codes
from homeserver.storage.oauth_codes import AuthorizationCode

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.randomness import Randomness
    from homeserver.services.oauth_provider.clients import Client, OAuthClients
    from homeserver.storage.database import Database

RESPONSE_MODES = ("query", "fragment")
PROMPTS = ("none", "login", "consent", "select_account", "create")
_CODE_LIFETIME_MS = 60_000
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")  # a SHA-256 hash in base64url
_LONGEST_STATE = 1_000
_log = structlog.get_logger("homeserver.oauth_provider")


@dataclass(frozen=True, slots=True)
class Reply:
    """Where the answer to a client goes, and how."""

    issuer: str
    redirect_uri: str
    mode: str
    state: str | None

    def url(self, **parameters: str) -> str:
        """The redirect URI with the answer in its query or fragment."""
        if self.state is not None:
            parameters["state"] = self.state
        answer = urlencode({**parameters, "iss": self.issuer})
        if self.mode == "fragment":
            return f"{self.redirect_uri}#{answer}"
        return f"{self.redirect_uri}{'&' if '?' in self.redirect_uri else '?'}{answer}"


class RefusedAuthorization(Exception):
    """An authorization request the client has to mend: the browser goes back to it with `url`."""

    def __init__(self, url: str) -> None:
        super().__init__("the authorization request was refused")
        self.url = url


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A request that holds; its user decides now."""

    client: Client
    reply: Reply
    scope: DeviceScope
    code_challenge: str
    prompts: frozenset[str]


class Authorizations:
    """Checks authorization requests and hands out codes. `issuer` names this server to clients."""

    def __init__(
        self, issuer: str, database: Database, clock: Clock, randomness: Randomness, clients: OAuthClients
    ) -> None:
        self._issuer = issuer
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._clients = clients

    async def check(self, pairs: Sequence[tuple[str, str]]) -> AuthorizationRequest:
        """The request in these query parameters.

        M_INVALID_PARAM where it cannot be told to whom to answer, else RefusedAuthorization.
        """
        query = dict(pairs)
        try:
            client = await self._clients.get(query.get("client_id"))
        except OAuth2Error:
            raise invalid_param("This app is not known here. Go back to it and try again.") from None
        redirect_uri = query.get("redirect_uri")
        if not redirect_uri or not is_registered(redirect_uri, client.redirect_uris):
            raise invalid_param("The app wants its answer sent to a place it did not register.")
        if [name for name, _ in pairs].count("redirect_uri") > 1 or [name for name, _ in pairs].count("client_id") > 1:
            raise invalid_param("The app's request names itself twice.")
        mode = query.get("response_mode", "query")
        state = query.get("state")
        reply = Reply(self._issuer, redirect_uri, mode if mode in RESPONSE_MODES else "query", state)
        try:
            return self._checked(client, reply, pairs)
        except OAuth2Error as error:
            _log.info("authorization request refused", client_id=client.client_id, error=error.error)
            raise RefusedAuthorization(_error_url(reply, error)) from None

    async def grant(self, request: AuthorizationRequest, user_id: str) -> str:
        """Where to send the browser once its user has agreed: back to the client, with a code."""
        code = "stz_" + self._randomness.token()
        row = AuthorizationCode(
            request.client.client_id,
            user_id,
            request.reply.redirect_uri,
            request.scope.text,
            request.code_challenge,
            used=False,
            expires_ms=self._clock.now_ms() + _CODE_LIFETIME_MS,
        )
        await self._database.write(oauth_codes.create_code, hash_token(code), row)
        _log.info(
            "authorization granted",
            client_id=request.client.client_id,
            user_id=user_id,
            device_id=request.scope.device_id,
        )
        return request.reply.url(code=code)

    def deny(self, request: AuthorizationRequest, user_id: str) -> str:
        """Where to send the browser when its user does not agree."""
        _log.info("authorization denied", client_id=request.client.client_id, user_id=user_id)
        return _error_url(request.reply, AccessDeniedError("The user did not agree."))

    def _checked(self, client: Client, reply: Reply, pairs: Sequence[tuple[str, str]]) -> AuthorizationRequest:
        query = dict(pairs)
        if len(query) != len(pairs):
            raise InvalidRequestError("A parameter is repeated.")
        if reply.state is not None and len(reply.state) > _LONGEST_STATE:
            raise InvalidRequestError("The state is too long.")
        if query.get("response_mode", "query") not in RESPONSE_MODES:
            raise InvalidRequestError("The response_mode must be query or fragment.")
        for name in ("request", "request_uri"):
            if name in query:
                raise OAuth2Error("Request objects are not supported.", error=f"{name}_not_supported")
        response_type = query.get("response_type")
        if not response_type:
            raise InvalidRequestError("The response_type is missing.")
        if response_type != "code":
            raise UnsupportedResponseTypeError(None, "The response_type must be code.")
        client.check_may_use(AUTHORIZATION_CODE)
        if query.get("code_challenge_method") != "S256":
            raise InvalidRequestError("The code_challenge_method must be S256.")
        challenge = query.get("code_challenge", "")
        if _CHALLENGE.fullmatch(challenge) is None:
            raise InvalidRequestError("The code_challenge must be a SHA-256 hash in base64url.")
        prompts = frozenset(query.get("prompt", "").split())
        if not prompts <= set(PROMPTS) or ("none" in prompts and len(prompts) > 1):
            raise InvalidRequestError("The prompt is not known.")
        scope = parse_scope(query.get("scope"))
        if "none" in prompts:
            raise OAuth2Error("The user has to be asked.", error="interaction_required")
        return AuthorizationRequest(client, reply, scope, challenge, prompts)


def _error_url(reply: Reply, error: OAuth2Error) -> str:
    return reply.url(error=str(error.error), error_description=str(error.description or ""))
