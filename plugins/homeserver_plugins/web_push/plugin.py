"""The plugin `web_push`: its transports, its key, and what clients learn of both.

Spec: MSC4174
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from homeserver.plugin_api import PluginContext, PushTransport, hookimpl
from homeserver_plugins.web_push.settings import WebPushSettings
from homeserver_plugins.web_push.transports import UnifiedPushTransport, WebPushTransport
from homeserver_plugins.web_push.vapid import VapidKey, new_private_key

_KINDS = ("webpush", "org.matrix.msc4174.webpush")
_CAPABILITIES = ("m.webpush", "org.matrix.msc4174.webpush")
_STORED_KEY = "vapid_private_key"


class Plugin:
    """`web_push`."""

    Settings = WebPushSettings

    def __init__(self, context: PluginContext, settings: WebPushSettings) -> None:
        self._context = context
        self._settings = settings
        self._key: VapidKey | None = None
        # Handed out before the start and completed by it: only then can the key be had from the database.
        self._capability: dict[str, Any] = {"enabled": True}

    @hookimpl
    def register_push_transports(self) -> Sequence[PushTransport]:
        web = [WebPushTransport(kind, self._context, self._settings, self._find_key) for kind in _KINDS]
        return [*web, UnifiedPushTransport(self._context, self._settings)]

    @hookimpl
    def register_capabilities(self) -> Mapping[str, Mapping[str, Any]]:
        return dict.fromkeys(_CAPABILITIES, self._capability)

    @hookimpl
    async def on_start(self) -> None:
        contact = self._settings.contact or self._context.public_baseurl
        self._key = VapidKey.read(await self._load_private_key(), contact)
        self._capability["vapid"] = self._key.public

    async def _load_private_key(self) -> str:
        if self._settings.vapid_private_key is not None:
            return self._settings.vapid_private_key.reveal()
        await self._context.store.put_new(_STORED_KEY, new_private_key())
        return str(await self._context.store.find(_STORED_KEY))

    def _find_key(self) -> VapidKey:
        assert self._key is not None  # nothing is delivered before the start
        return self._key
