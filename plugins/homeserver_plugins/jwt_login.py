"""Logs people in with a JSON Web Token that another system of the operator signed, as `org.matrix.login.jwt`.
Accounts are opened at the first login unless the settings say otherwise.

Spec: RFC 7519, RFC 8725
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey
from pydantic import Field, model_validator

from homeserver.plugin_api import (
    Duration,
    LoginMethod,
    LoginRequest,
    MatrixError,
    PluginContext,
    Secret,
    Section,
    bad_json,
    forbidden,
    hookimpl,
    missing_param,
)

Algorithm = Literal["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "ES512", "Ed25519"]
_LARGEST_TOKEN = 16_384
_SHORTEST_SECRET_BYTES = 32  # RFC 7518 #section-3.2
_LONGEST_DISPLAY_NAME = 256


class JwtLoginSettings(Section):
    """Logins with JSON Web Tokens."""

    algorithm: Algorithm = Field(description="The only algorithm that is accepted.")
    secret: Secret | None = Field(
        default=None, description="The shared secret of HS256 and the like, 32 bytes or more."
    )
    public_key: Secret | None = Field(default=None, description="The public key (PEM) of all other algorithms.")
    subject_claim: str = Field(default="sub", description="The claim that holds the localpart of the user ID.")
    display_name_claim: str | None = Field(default=None, description="The claim that holds a newcomer's name.")
    issuer: str | None = Field(default=None, description="What `iss` must be.")
    audiences: list[str] = Field(default=[], description="Of these, `aud` must hold one.")
    leeway: Duration = Field(default=Duration.parse("30s"), description="How far clocks may be apart.")
    create_accounts: bool = Field(default=True, description="Whether accounts are opened at the first login.")

    @model_validator(mode="after")
    def _has_the_right_key(self) -> Self:
        if self.algorithm.startswith("HS"):
            if self.secret is None or self.public_key is not None:
                raise ValueError(f"{self.algorithm} needs a secret, and no public_key")
            if len(self.secret.reveal().encode()) < _SHORTEST_SECRET_BYTES:
                raise ValueError(f"the secret must have at least {_SHORTEST_SECRET_BYTES} bytes")
        elif self.public_key is None or self.secret is not None:
            raise ValueError(f"{self.algorithm} needs a public_key, and no secret")
        try:
            self.key()
        except (ValueError, TypeError, JoseError):
            raise ValueError(f"public_key is no key of {self.algorithm}") from None
        return self

    def key(self) -> Key:
        """The key that signatures are checked with."""
        if self.secret is not None:
            return OctKey.import_key(self.secret.reveal().encode())
        assert self.public_key is not None
        pem = self.public_key.reveal()
        if self.algorithm.startswith(("RS", "PS")):
            return RSAKey.import_key(pem)
        return ECKey.import_key(pem) if self.algorithm.startswith("ES") else OKPKey.import_key(pem)


class JwtLogin:
    """The login method."""

    flow: dict[str, Any] = {"type": "org.matrix.login.jwt"}  # noqa: RUF012 - read only

    def __init__(self, context: PluginContext, settings: JwtLoginSettings) -> None:
        self._context = context
        self._settings = settings
        self._key = settings.key()

    async def login(self, request: LoginRequest) -> str:
        token = request.body.get("token")
        if token is None:
            raise missing_param("`token` is missing.")
        if not isinstance(token, str) or len(token) > _LARGEST_TOKEN:
            raise bad_json(f"`token` must be a string of at most {_LARGEST_TOKEN} characters.")
        claims = self._checked_claims(token)
        localpart = claims.get(self._settings.subject_claim)
        if not isinstance(localpart, str) or not localpart:
            raise forbidden("The token does not say whose it is.")
        return await self._account_of(localpart.lower(), claims)

    def _checked_claims(self, token: str) -> dict[str, Any]:
        settings = self._settings
        wanted: dict[str, Any] = {}
        if settings.issuer is not None:
            wanted["iss"] = {"essential": True, "value": settings.issuer}
        if settings.audiences:
            wanted["aud"] = {"essential": True, "values": settings.audiences}
        registry = jwt.JWTClaimsRegistry(
            now=self._context.clock.now_ms() // 1000, leeway=int(settings.leeway) // 1000, **wanted
        )
        try:
            claims = jwt.decode(token, self._key, algorithms=[settings.algorithm]).claims
            registry.validate(claims)
        except (JoseError, ValueError, TypeError) as error:
            self._context.log.info("token refused", reason=type(error).__name__)
            raise forbidden("The token is not valid, or has expired.") from None
        return dict(claims)

    async def _account_of(self, localpart: str, claims: dict[str, Any]) -> str:
        accounts = self._context.accounts
        user_id = accounts.user_id_of(localpart)
        account = await accounts.find(user_id)
        if account is not None:
            if account.deactivated:
                raise MatrixError("M_USER_DEACTIVATED", "This account has been deactivated.", 403)
            return account.user_id
        if not self._settings.create_accounts:
            raise forbidden("There is no account of this name.")
        name = claims.get(self._settings.display_name_claim or "")
        displayname = name[:_LONGEST_DISPLAY_NAME] if isinstance(name, str) else None
        return (await accounts.create(localpart, displayname=displayname)).user_id


class Plugin:
    """`jwt_login`."""

    Settings = JwtLoginSettings

    def __init__(self, context: PluginContext, settings: JwtLoginSettings) -> None:
        self._login = JwtLogin(context, settings)

    @hookimpl
    def register_login_methods(self) -> Sequence[LoginMethod]:
        return [self._login]
