"""The section `oauth_provider`: logging in with OAuth 2.0 in a browser, beside the legacy API.
It needs no other service; Element X and other new clients prefer it.
"""

from pydantic import Field

from homeserver_config.values import Duration, Section


class OAuthProviderSettings(Section):
    """Logging in with OAuth 2.0 in a browser, and the account pages; beside the legacy API."""

    enabled: bool = Field(default=True, description="Whether clients may log in with the OAuth 2.0 API.")
    device_grant: bool = Field(
        default=True, description="Whether a client without a browser may log in with a code (QR login)."
    )
    browser_session_lifetime: Duration = Field(
        default=Duration.parse("14d"), description="How long a browser stays logged in to the server's own pages."
    )
    unused_client_lifetime: Duration = Field(
        default=Duration.parse("30d"), description="How long a registered client without a session is remembered."
    )
