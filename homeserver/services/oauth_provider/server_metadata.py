"""What clients can know of this server's OAuth 2.0 API, and where its endpoints are.

Spec: client-server-api #server-metadata-discovery; RFC 8414
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from homeserver.services.oauth_provider.authorizations import RESPONSE_MODES
from homeserver.services.oauth_provider.client_metadata import AUTHORIZATION_CODE, DEVICE_CODE, REFRESH_TOKEN
from homeserver.services.oauth_provider.scopes import API_SCOPES

PATH = "/_starling/client/oauth2"
ACCOUNT_PATH = "/_starling/client/account"
ACTIONS = {
    "org.matrix.profile": "profile",
    "org.matrix.devices_list": "sessions_list",
    "org.matrix.device_view": "session_view",
    "org.matrix.device_delete": "session_end",
    "org.matrix.account_deactivate": "account_deactivate",
    "org.matrix.cross_signing_reset": "cross_signing_reset",
}
"""The actions of the account pages, and what they were called before; the old names came with a prefix as well."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where people and clients find what."""

    public_baseurl: str

    @property
    def issuer(self) -> str:
        return f"{self.public_baseurl}/"

    @property
    def account(self) -> str:
        return self.public_baseurl + ACCOUNT_PATH

    @property
    def is_secure(self) -> bool:
        return self.public_baseurl.startswith("https://")

    def __call__(self, name: str) -> str:
        """The URL of one of the endpoints and pages below `PATH`."""
        return f"{self.public_baseurl}{PATH}/{name}"


def server_metadata(places: Places, *, sign_up: bool, device_grant: bool, old_names: bool = False) -> dict[str, Any]:
    """The metadata document; with `old_names`, for clients from before it was specified."""
    grants = [AUTHORIZATION_CODE, REFRESH_TOKEN]
    metadata: dict[str, Any] = {
        "issuer": places.issuer,
        "authorization_endpoint": places("authorize"),
        "token_endpoint": places("token"),
        "registration_endpoint": places("register"),
        "revocation_endpoint": places("revoke"),
        "response_types_supported": ["code"],
        "response_modes_supported": list(RESPONSE_MODES),
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        "scopes_supported": list(API_SCOPES),
        "authorization_response_iss_parameter_supported": True,
        "account_management_uri": places.account,
        "account_management_actions_supported": list(ACTIONS),
    }
    if device_grant:
        grants.append(DEVICE_CODE)
        metadata["device_authorization_endpoint"] = places("device")
    metadata["grant_types_supported"] = grants
    if sign_up:
        metadata["prompt_values_supported"] = ["create"]
    if old_names:
        older = [name for old in ACTIONS.values() for name in (f"org.matrix.{old}", old)]
        supported = list(dict.fromkeys([*ACTIONS, *older]))
        metadata["account_management_actions_supported"] = supported
        metadata["org.matrix.msc4191.account_management_uri"] = places.account
        metadata["org.matrix.msc4191.account_management_actions_supported"] = supported
    return metadata
