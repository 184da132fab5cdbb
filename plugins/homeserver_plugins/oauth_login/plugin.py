"""The plugin `oauth_login`: its hooks, and the key its cookies are sealed with.

The key is made at the first start and kept in the plugin's store, so that all processes share it.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence

from homeserver.plugin_api import PluginContext, SsoProvider, hookimpl
from homeserver_plugins.oauth_login.settings import OauthLoginSettings
from homeserver_plugins.oauth_login.sign_in import SignIn

_KEY = "cookie-key"
_KEY_BYTES = 32


class Plugin:
    """`oauth_login`."""

    Settings = OauthLoginSettings

    def __init__(self, context: PluginContext, settings: OauthLoginSettings) -> None:
        self._context = context
        self._sign_in = SignIn(context, settings)

    @hookimpl
    def register_sso_providers(self) -> Sequence[SsoProvider]:
        return list(self._sign_in.providers.values())

    @hookimpl
    def register_routes(self) -> Sequence[object]:
        return [self._sign_in]

    @hookimpl
    async def on_start(self) -> None:
        fresh = urlsafe_b64encode(self._context.randomness.bytes(_KEY_BYTES)).decode("ascii")
        await self._context.store.put_new(_KEY, fresh)
        self._sign_in.open(urlsafe_b64decode(await self._context.store.find(_KEY)))
