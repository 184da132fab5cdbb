"""The plugin `livekit`: its token service, and where clients learn of it.

Spec: MSC4143, MSC4195
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from homeserver.plugin_api import PluginContext, hookimpl
from homeserver_plugins.livekit.service import BASE_PATH, TokenService
from homeserver_plugins.livekit.settings import LiveKitSettings


class Plugin:
    """`livekit`."""

    Settings = LiveKitSettings

    def __init__(self, context: PluginContext, settings: LiveKitSettings) -> None:
        url = settings.service_url or context.public_baseurl + BASE_PATH
        self._transport = {"type": "livekit", "livekit_service_url": url}
        self._service = TokenService(context, settings)

    @hookimpl
    def register_routes(self) -> Sequence[object]:
        return [self._service]

    @hookimpl
    def register_rtc_transports(self) -> Sequence[Mapping[str, Any]]:
        return [self._transport]
