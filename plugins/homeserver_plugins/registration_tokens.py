"""Registration tokens written in the settings: each lets a number of people open an account, until it expires.
The plugin brings the stage `m.login.registration_token`; tokens made by administrators work beside those listed here.

Spec: client-server-api #token-authenticated-registration
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import Field, field_validator

from homeserver.plugin_api import (
    AuthAttempt,
    AuthStage,
    PluginContext,
    RegistrationTokenUse,
    Secret,
    Section,
    StageFinding,
    bad_json,
    hookimpl,
    missing_param,
)

_STAGE = "m.login.registration_token"
_LONGEST = 64
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._~-")


class TokenSettings(Section):
    """One registration token."""

    token: Secret = Field(description="The token: letters, digits and . _ ~ -, at most 64.")
    uses: int | None = Field(default=None, ge=0, description="How many accounts it opens; without it, any number.")
    expires: datetime | None = Field(default=None, description="When it expires, e.g. 2027-01-31T12:00:00Z.")

    @field_validator("token")
    @classmethod
    def _is_well_formed(cls, token: Secret) -> Secret:
        text = token.reveal()
        if not 0 < len(text) <= _LONGEST or not _LETTERS.issuperset(text):
            raise ValueError("a registration token has 1 to 64 letters, digits and . _ ~ -")
        return token


class RegistrationTokenSettings(Section):
    """Tokens that let people open accounts."""

    tokens: list[TokenSettings] = Field(default=[], description="The tokens.")


class RegistrationTokenStage:
    """The stage. Completing it uses the token once; the server counts, and takes it back if nothing comes of it."""

    stage_type = _STAGE
    proves_account = False
    for_registration = False

    async def is_available_to(self, user_id: str) -> bool:
        return False

    async def params(self) -> dict[str, Any] | None:
        return None

    async def check(self, attempt: AuthAttempt) -> StageFinding:
        token = attempt.auth.get("token")
        if token is None:
            raise missing_param("`token` is missing.")
        if not isinstance(token, str):
            raise bad_json("`token` must be a string.")
        return StageFinding({"token": token}, [RegistrationTokenUse(token)])


class Plugin:
    """`registration_tokens`: tokens from the settings."""

    Settings = RegistrationTokenSettings

    def __init__(self, context: PluginContext, settings: RegistrationTokenSettings) -> None:
        self._context = context
        self._settings = settings

    @hookimpl
    def register_auth_stages(self) -> Sequence[AuthStage]:
        return [RegistrationTokenStage()]

    @hookimpl
    async def on_start(self) -> None:
        for one in self._settings.tokens:
            expires_ms = None if one.expires is None else _as_ms(one.expires)
            await self._context.accounts.add_registration_token(one.token.reveal(), one.uses, expires_ms)


def _as_ms(when: datetime) -> int:
    """Milliseconds since 1970; a time without a zone is UTC."""
    return round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)
