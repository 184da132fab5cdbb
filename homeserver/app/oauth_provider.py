"""Builds the server as OAuth 2.0 provider: the services behind its endpoints, and the pages.

The approvals come first, because User-Interactive Authentication has a stage that waits for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from homeserver.client_api.oauth_account import OAuthAccountApi
from homeserver.client_api.oauth_authorize import OAuthAuthorizeApi
from homeserver.client_api.oauth_browser import Browsers
from homeserver.client_api.oauth_clients import OAuthClientsApi
from homeserver.client_api.oauth_continue import OAuthContinueApi
from homeserver.client_api.oauth_login import OAuthLoginApi
from homeserver.client_api.oauth_metadata import OAuthMetadataApi
from homeserver.services.oauth_provider.authorizations import Authorizations
from homeserver.services.oauth_provider.browser_sessions import CROSS_SIGNING_RESET, Approvals, BrowserSessions
from homeserver.services.oauth_provider.clients import OAuthClients
from homeserver.services.oauth_provider.device_grants import DeviceGrants
from homeserver.services.oauth_provider.oauth_stage import OAUTH, UNSTABLE_OAUTH, OAuthStage
from homeserver.services.oauth_provider.retention import OAuthRetention
from homeserver.services.oauth_provider.server_metadata import Places, server_metadata
from homeserver.services.oauth_provider.sign_up import SignUp
from homeserver.services.oauth_provider.token_endpoint import TokenEndpoint

if TYPE_CHECKING:
    from homeserver.app.accounts import AccountParts
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.randomness import Randomness
    from homeserver.services.accounts.tokens import Tokens
    from homeserver.services.profiles import Profiles
    from homeserver.services.rate_limiter import RateLimits
    from homeserver.services.sso import SingleSignOn
    from homeserver.storage.database import Database
    from homeserver.storage.devices import DeviceRows
    from homeserver_config.settings import Settings


@dataclass(frozen=True, slots=True)
class OAuthParts:
    """What the HTTP side uses of it."""

    approvals: Approvals
    retention: OAuthRetention
    apis: Sequence[object]


def build_approvals(settings: Settings, database: Database, clock: Clock) -> Approvals:
    """What people approve on the account pages."""
    account = Places(settings.public_baseurl).account
    return Approvals(database, clock, f"{account}?action={CROSS_SIGNING_RESET}")


def oauth_stages(approvals: Approvals) -> list[OAuthStage]:
    """The stage under its name, and under the one that clients in the field know."""
    return [OAuthStage(OAUTH, approvals), OAuthStage(UNSTABLE_OAUTH, approvals)]


def build_oauth_provider(
    settings: Settings,
    database: Database,
    clock: Clock,
    randomness: Randomness,
    tokens: Tokens,
    limits: RateLimits,
    profiles: Profiles,
    sso: SingleSignOn,
    accounts: AccountParts,
    device_rows: Sequence[DeviceRows],
    approvals: Approvals,
) -> OAuthParts:
    """Everything about the OAuth 2.0 API."""
    own = settings.oauth_provider
    places = Places(settings.public_baseurl)
    clients = OAuthClients(database, clock, randomness)
    waiting = DeviceGrants(places("link"), database, clock, randomness, clients, limits)
    token_endpoint = TokenEndpoint(database, clock, accounts.sessions, tokens, clients, waiting, device_rows)
    authorizations = Authorizations(places.issuer, database, clock, randomness, clients)
    browsers = Browsers(places, BrowserSessions(database, clock, randomness, own.browser_session_lifetime))
    sign_up = SignUp(accounts.registration, settings.registration.terms_url)
    known = {"sign_up": sign_up.is_open, "device_grant": own.device_grant}
    device_grants = waiting if own.device_grant else None
    server_name = settings.server.server_name
    return OAuthParts(
        approvals,
        OAuthRetention(database, clock, own.unused_client_lifetime),
        [
            OAuthMetadataApi(server_metadata(places, **known), server_metadata(places, **known, old_names=True)),
            OAuthClientsApi(clients, token_endpoint, device_grants),
            OAuthLoginApi(server_name, places, browsers, accounts.sessions, sso, sign_up),
            OAuthAuthorizeApi(places, browsers, authorizations, device_grants),
            OAuthContinueApi(places, browsers, accounts.sessions, accounts.login_tokens),
            OAuthAccountApi(
                places, browsers, accounts.accounts, accounts.sessions, accounts.devices, profiles, approvals
            ),
        ],
    )
