"""The section `sessions`: how people log in, and how long their tokens live.
Clients that can refresh get short access tokens, the others long ones.
"""

from pydantic import Field

from homeserver_config.values import Duration, Section


class SessionSettings(Section):
    """How people log in, and how long their tokens live."""

    password_login: bool = Field(default=True, description="Whether people may log in with a password.")
    login_tokens: bool = Field(
        default=False,
        description="Whether a logged-in session may issue a login token for a further device (QR login).",
    )
    access_token_lifetime: Duration | None = Field(
        default=None,
        description="How long an access token lives in clients that cannot refresh; without it, until logout.",
    )
    refreshable_access_token_lifetime: Duration = Field(
        default=Duration.parse("5m"), description="How long an access token lives in clients that can refresh it."
    )
    refresh_token_lifetime: Duration | None = Field(
        default=None, description="How long a refresh token lives unused; without it, for ever."
    )
    login_token_lifetime: Duration = Field(
        default=Duration.parse("2m"), description="How long a login token can be redeemed."
    )
    interactive_auth_lifetime: Duration = Field(
        default=Duration.parse("1h"),
        description="How long an unfinished User-Interactive Authentication is remembered.",
    )
    max_devices: int = Field(
        default=200, ge=1, description="How many devices an account may have; the oldest goes first."
    )
