"""Speaks to one identity provider: discovery, the authorization request, the exchange of the code, who the person is.
authlib makes and reads the OAuth messages, joserfc checks ID tokens; the server's own HTTP client carries them.

Spec: OpenID Connect Core 1.0 #CodeFlowAuth; RFC 6749, 7636 (PKCE), 9207 (issuer identification)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from authlib.oauth2.auth import ClientAuth  # type: ignore[import-untyped]
from authlib.oauth2.rfc6749.parameters import (  # type: ignore[import-untyped]
    prepare_grant_uri,
    prepare_token_request,
)
from authlib.oauth2.rfc7636 import create_s256_code_challenge  # type: ignore[import-untyped]
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from homeserver.plugin_api import Clock, HttpClient, RemoteFailure
from homeserver_plugins.oauth_login.settings import ProviderSettings

_KNOWN_FOR_MS = 3_600_000
_LEEWAY_S = 120
_TIMEOUT_S = 15.0
# Only signatures by the provider's own key pair: a shared secret would let whoever knows it be anybody.
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
_JSON = {"accept": "application/json"}


class ProviderFailure(Exception):
    """The provider could not be asked, or its answer does not hold. Its text is for the log, not for people."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a provider answers. `issuer` and `jwks_uri` are None where there are no ID tokens."""

    authorization: str
    token: str
    userinfo: str | None
    issuer: str | None = None
    jwks_uri: str | None = None
    auth_methods: tuple[str, ...] = ()
    names_issuer: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """A person, as the provider knows them. `subject` never changes; the rest are suggestions."""

    subject: str
    username: str
    displayname: str | None


class ProviderClient:
    """This server as a client of one provider."""

    def __init__(self, settings: ProviderSettings, http: HttpClient, clock: Clock, callback_url: str) -> None:
        self._settings = settings
        self._http = http
        self._clock = clock
        self._callback_url = callback_url
        self._endpoints: tuple[int, Endpoints] | None = None
        self._keys: KeySet | None = None

    async def authorization_url(self, state: str, nonce: str, verifier: str, action: str | None) -> str:
        """Where to send the browser."""
        endpoints = await self._discover()
        more = {"nonce": nonce} if endpoints.issuer is not None else {}
        if action == "register":
            more["prompt"] = "create"
        url: str = prepare_grant_uri(
            endpoints.authorization,
            client_id=self._settings.client_id,
            response_type="code",
            redirect_uri=self._callback_url,
            scope=" ".join(self._settings.scopes),
            state=state,
            code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
            **more,
        )
        return url

    async def identify(self, code: str, nonce: str, verifier: str, issuer: str | None) -> Identity:
        """Who stands behind an authorization code. `issuer` is what the callback's `iss` says, if anything."""
        endpoints = await self._discover()
        if (issuer is not None or endpoints.names_issuer) and issuer != endpoints.issuer:
            raise ProviderFailure(f"the answer comes from another issuer, {issuer!r}")
        token = await self._exchange(endpoints, code, verifier)
        claims: dict[str, Any] = {}
        if endpoints.issuer is not None:
            claims = await self._claims_of(endpoints, token.get("id_token"), nonce)
        if endpoints.userinfo is not None:
            claims = {**await self._userinfo(endpoints.userinfo, token, claims.get("sub")), **claims}
        self._check_required(claims)
        return self._identity(claims)

    async def _discover(self) -> Endpoints:
        now_ms = self._clock.now_ms()
        if self._endpoints is None or now_ms - self._endpoints[0] > _KNOWN_FOR_MS:
            self._endpoints = (now_ms, await self._load_endpoints())
        return self._endpoints[1]

    async def _load_endpoints(self) -> Endpoints:
        settings = self._settings
        if settings.issuer is None:
            assert settings.authorization_endpoint is not None
            assert settings.token_endpoint is not None
            return Endpoints(settings.authorization_endpoint, settings.token_endpoint, settings.userinfo_endpoint)
        found = await self._json("GET", f"{settings.issuer}/.well-known/openid-configuration")
        if str(found.get("issuer", "")).rstrip("/") != settings.issuer:
            raise ProviderFailure(f"discovery names another issuer, {found.get('issuer')!r}")
        try:
            return Endpoints(
                authorization=settings.authorization_endpoint or found["authorization_endpoint"],
                token=settings.token_endpoint or found["token_endpoint"],
                userinfo=settings.userinfo_endpoint or found.get("userinfo_endpoint"),
                issuer=found["issuer"],
                jwks_uri=found["jwks_uri"],
                auth_methods=tuple(found.get("token_endpoint_auth_methods_supported", ())),
                names_issuer=found.get("authorization_response_iss_parameter_supported") is True,
            )
        except KeyError as missing:
            raise ProviderFailure(f"discovery lacks {missing}") from None

    async def _exchange(self, endpoints: Endpoints, code: str, verifier: str) -> dict[str, Any]:
        body = prepare_token_request(
            "authorization_code", redirect_uri=self._callback_url, code=code, code_verifier=verifier
        )
        secret = self._settings.client_secret
        auth = ClientAuth(
            self._settings.client_id, "" if secret is None else secret.reveal(), self._auth_method(endpoints)
        )
        headers = {**_JSON, "content-type": "application/x-www-form-urlencoded"}
        url, headers, body = auth.prepare("POST", endpoints.token, headers, body)
        token = await self._json("POST", url, body=body.encode(), headers=headers)
        if not isinstance(token.get("access_token"), str):
            # GitHub answers 200 even to a refusal.
            raise ProviderFailure(f"no access token: {token.get('error', 'no reason given')}")
        return token

    def _auth_method(self, endpoints: Endpoints) -> str:
        settings = self._settings
        if settings.client_auth is not None:
            return settings.client_auth
        if settings.client_secret is None:
            return "none"
        # Without a list, OpenID Connect means `basic`; plain OAuth 2 providers such as GitHub take the body.
        preferred = ("client_secret_basic", "client_secret_post")
        known = endpoints.auth_methods or (("client_secret_basic",) if endpoints.issuer else ("client_secret_post",))
        return next((method for method in preferred if method in known), "client_secret_basic")

    async def _claims_of(self, endpoints: Endpoints, id_token: object, nonce: str) -> dict[str, Any]:
        if not isinstance(id_token, str):
            raise ProviderFailure("there is no ID token")
        token = await self._verified(endpoints, id_token)
        registry = jwt.JWTClaimsRegistry(
            now=lambda: self._clock.now_ms() // 1000,
            leeway=_LEEWAY_S,
            iss={"essential": True, "value": endpoints.issuer or ""},
            aud={"essential": True, "value": self._settings.client_id},
            exp={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            registry.validate(token.claims)
        except JoseError as error:
            raise ProviderFailure(f"the ID token does not hold: {error}") from error
        party = token.claims.get("azp")
        if party is not None and party != self._settings.client_id:
            raise ProviderFailure("the ID token was made for another client")
        return dict(token.claims)

    async def _verified(self, endpoints: Endpoints, id_token: str) -> jwt.Token:
        """The token, its signature checked; the keys are fetched once more if it is by a key not seen before."""
        for keys in (self._keys, None):
            try:
                known = keys or await self._load_keys(endpoints)
                return jwt.decode(id_token, known, algorithms=_ALGORITHMS)
            except (JoseError, ValueError) as error:
                if keys is None:
                    raise ProviderFailure(f"the ID token's signature does not hold: {error}") from error
        raise AssertionError("unreachable")

    async def _load_keys(self, endpoints: Endpoints) -> KeySet:
        assert endpoints.jwks_uri is not None
        found = await self._json("GET", endpoints.jwks_uri)
        self._keys = KeySet.import_key_set({"keys": found.get("keys", [])})
        return self._keys

    async def _userinfo(self, url: str, token: Mapping[str, Any], subject: object) -> dict[str, Any]:
        found = await self._json("GET", url, headers={**_JSON, "authorization": f"Bearer {token['access_token']}"})
        if subject is not None and found.get("sub") != subject:
            raise ProviderFailure("userinfo speaks of another person")
        return found

    def _check_required(self, claims: Mapping[str, Any]) -> None:
        for name, wanted in self._settings.required_claims.items():
            allowed = [wanted] if isinstance(wanted, str) else wanted
            held = claims.get(name)
            values = held if isinstance(held, list) else [held]
            if not any(value in allowed for value in values):
                raise NotAllowed(name)

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        settings = self._settings
        subject = claims.get(settings.subject_claim)
        if isinstance(subject, bool) or not isinstance(subject, str | int) or subject == "":
            raise ProviderFailure(f"there is no {settings.subject_claim!r} to know the person by")
        username, displayname = claims.get(settings.username_claim), claims.get(settings.display_name_claim)
        return Identity(
            str(subject),
            username if isinstance(username, str) else "",
            displayname if isinstance(displayname, str) and displayname else None,
        )

    async def _json(
        self, method: str, url: str, *, body: bytes | None = None, headers: Mapping[str, str] = _JSON
    ) -> dict[str, Any]:
        try:
            answer = await self._http.request(method, url, body=body, headers=headers, timeout_s=_TIMEOUT_S)
            found = answer.json()
        except RemoteFailure as failure:
            raise ProviderFailure(str(failure)) from failure
        if not 200 <= answer.status < 300 or not isinstance(found, dict):
            reason = found.get("error") if isinstance(found, dict) else None
            raise ProviderFailure(f"{method} {url.partition('?')[0]} answered {answer.status} {reason or ''}".rstrip())
        return found


class NotAllowed(Exception):
    """The person is known, but lacks a claim the settings require."""
