"""The plugin `livekit`: its token service, and where clients learn of it.

Spec: MSC4143, MSC4195
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from homeserver.plugin_api import Auth, JsonValue, PluginContext, Request, Requester, endpoint, hookimpl
from homeserver_plugins.livekit.service import BASE_PATH, TokenService
from homeserver_plugins.livekit.settings import LiveKitSettings


class RtcTransports:
    """`GET /rtc/transports`: what calls can run over."""

    def __init__(self, transports: Sequence[Mapping[str, Any]]) -> None:
        self._transports = [dict(one) for one in transports]

    @endpoint(
        "GET",
        ["/_matrix/client/v1/rtc/transports", "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports"],
        auth=Auth.GUEST_OK,
    )
    async def get_transports(self, request: Request, requester: Requester) -> JsonValue:
        return {"rtc_transports": list(self._transports)}


class Plugin:
    """`livekit`."""

    Settings = LiveKitSettings

    def __init__(self, context: PluginContext, settings: LiveKitSettings) -> None:
        url = settings.service_url or context.public_baseurl + BASE_PATH
        self._transport = {"type": "livekit", "livekit_service_url": url}
        self._service = TokenService(context, settings)

    @hookimpl
    def register_routes(self) -> Sequence[object]:
        return [self._service, RtcTransports([self._transport])]

    @hookimpl
    def register_well_known(self) -> Mapping[str, Any]:
        return {"org.matrix.msc4143.rtc_foci": [self._transport]}

    @hookimpl
    def register_unstable_features(self) -> Mapping[str, bool]:
        return {"org.matrix.msc4143": True}
