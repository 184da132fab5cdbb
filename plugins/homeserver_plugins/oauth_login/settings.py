"""The settings of `oauth_login`: the providers, and which clients are trusted.
Presets fill in what is the same for everybody.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from homeserver.plugin_api import BaseUrl, Secret, Section

_PRESETS: dict[str, dict[str, Any]] = {
    "openid": {"name": "Single sign-on", "scopes": ["openid", "profile", "email"]},
    "google": {
        "name": "Google",
        "brand": "google",
        "issuer": "https://accounts.google.com",
        "scopes": ["openid", "profile", "email"],
        "username_claim": "email",
    },
    "github": {
        "name": "GitHub",
        "brand": "github",
        "authorization_endpoint": "https://github.com/login/oauth/authorize",
        "token_endpoint": "https://github.com/login/oauth/access_token",
        "userinfo_endpoint": "https://api.github.com/user",
        "scopes": ["read:user"],
        "subject_claim": "id",
        "username_claim": "login",
    },
}


class ProviderSettings(Section):
    """One identity provider."""

    id: str = Field(
        pattern=r"^[A-Za-z0-9._~-]{1,64}$",
        description="A name for it in URLs; accounts are bound to it, so that it can never be changed.",
    )
    preset: Literal["openid", "google", "github"] = Field(
        default="openid", description="What kind it is: google and github need no further addresses."
    )
    name: str = Field(default="", description="What people see on the button.")
    icon: str | None = Field(default=None, pattern="^mxc://", description="An mxc: URI of a picture for the button.")
    brand: str | None = Field(default=None, description="A brand clients know, e.g. gitlab.")
    issuer: BaseUrl | None = Field(
        default=None, description="The OpenID Connect issuer; everything else is discovered from it."
    )
    authorization_endpoint: BaseUrl | None = Field(default=None, description="For providers that cannot be discovered.")
    token_endpoint: BaseUrl | None = Field(default=None, description="For providers that cannot be discovered.")
    userinfo_endpoint: BaseUrl | None = Field(default=None, description="For providers that cannot be discovered.")
    client_id: str = Field(description="The client id the provider gave this server.")
    client_secret: Secret | None = Field(default=None, description="The client secret, if the provider gave one.")
    client_auth: Literal["client_secret_basic", "client_secret_post", "none"] | None = Field(
        default=None, description="How this server shows its secret; without it, the way the provider prefers."
    )
    scopes: list[str] = Field(default=[], description="The scopes asked for.")
    subject_claim: str = Field(default="sub", description="What identifies a person for ever.")
    username_claim: str = Field(default="preferred_username", description="What user names are suggested from.")
    display_name_claim: str = Field(default="name", description="What display names are taken from.")
    required_claims: dict[str, str | list[str]] = Field(
        default={}, description="Claims a person must have, e.g. {hd: example.org}; of a list, one will do."
    )
    choose_username: bool = Field(
        default=True, description="Whether newcomers choose their user name; otherwise it is the suggested one."
    )
    new_accounts: bool = Field(default=True, description="Whether people without an account may open one.")
    link_existing_accounts: bool = Field(
        default=False,
        description="Whether the suggested user name logs in to the account that has it already. "
        "Only for providers that let nobody choose their own name.",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in_the_preset(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        preset = data.get("preset", "openid")
        return {**(_PRESETS.get(preset, {}) if isinstance(preset, str) else {}), **data}

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        if self.issuer is None and not (self.authorization_endpoint and self.token_endpoint and self.userinfo_endpoint):
            raise ValueError("an issuer is needed, or all three of authorization, token and userinfo endpoint")
        return self


class OauthLoginSettings(Section):
    """Single sign-on with OAuth 2 and OpenID Connect."""

    providers: list[ProviderSettings] = Field(min_length=1, description="The providers, in the order they are shown.")
    trusted_clients: list[str] = Field(
        default=[],
        description="Beginnings of `redirectUrl`s that need no confirmation, e.g. https://chat.example.org/.",
    )

    @field_validator("trusted_clients")
    @classmethod
    def _name_a_whole_host(cls, clients: list[str]) -> list[str]:
        for client in clients:
            scheme, separator, rest = client.partition("://")
            if not separator or (scheme in ("http", "https") and "/" not in rest):
                raise ValueError(f"{client!r} must end its host with a slash, e.g. https://chat.example.org/")
        return clients

    @model_validator(mode="after")
    def _ids_differ(self) -> Self:
        ids = [provider.id for provider in self.providers]
        for one in ids:
            if ids.count(one) > 1:
                raise ValueError(f"two providers have the id {one}")
        return self
