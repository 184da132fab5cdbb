"""Single sign-on, as far as clients see it: the flow `m.login.sso` and the choice among identity providers.

The providers come from plugins, and log in with a login token in the end.

Spec: client-server-api #sso-client-loginauthentication
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from homeserver.plugin_api.sso import SsoProvider
from homeserver.protocol.errors import not_found, unknown

if TYPE_CHECKING:
    from homeserver.services.accounts.ports import LoginRequest


class SingleSignOn:
    """The identity providers of this server. Implements `LoginMethod`.

    `own_pages`: it begins on the server's own pages, where one can log in without a provider as well. Without either it
    is no way to log in.
    """

    def __init__(self, providers: Sequence[SsoProvider], *, own_pages: bool = False) -> None:
        self.providers = tuple(providers)
        self.own_pages = own_pages

    @property
    def is_offered(self) -> bool:
        return self.own_pages or bool(self.providers)

    @property
    def flow(self) -> dict[str, Any]:
        flow: dict[str, Any] = {"type": "m.login.sso"}
        if self.providers:
            flow["identity_providers"] = [_shown(provider) for provider in self.providers]
        if self.own_pages:
            # Spec: client-server-api #oauth-20-aware-clients
            flow["oauth_aware_preferred"] = True
            flow["org.matrix.msc3824.delegated_oidc_compatibility"] = True
        return flow

    async def login(self, request: LoginRequest) -> str:
        """Nobody logs in like this: single sign-on ends with `m.login.token`."""
        raise unknown("Single sign-on takes place in a browser; log in with the login token it ends with.")

    def get(self, provider_id: str) -> SsoProvider:
        """M_NOT_FOUND without such a provider."""
        for provider in self.providers:
            if provider.provider_id == provider_id:
                return provider
        raise not_found("This server does not know this identity provider.")


def _shown(provider: SsoProvider) -> dict[str, str]:
    shown = {"id": provider.provider_id, "name": provider.name, "icon": provider.icon, "brand": provider.brand}
    return {key: value for key, value in shown.items() if value is not None}
