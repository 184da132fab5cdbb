"""Push notifications over HTTP: pushers of the kind `http`, served through the push gateway that their app names.
The server works out who is notified of what, and retries; this plugin speaks the push gateway protocol.

Spec: push-gateway-api #post_matrixpushv1notify
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field

from homeserver.plugin_api import (
    DeliveryFailed,
    Duration,
    HttpResponse,
    Notification,
    PluginContext,
    Pusher,
    PushTransport,
    RemoteFailure,
    Section,
    hookimpl,
    invalid_param,
    missing_param,
)

_PATH = "/_matrix/push/v1/notify"
_EVENT_ID_ONLY = "event_id_only"
_KEPT_WITH_EVENT_ID_ONLY = ("event_id", "room_id", "counts", "prio")
_LARGEST_ANSWER = 65_536


class PushGatewaySettings(Section):
    """Push notifications through HTTP push gateways."""

    allow_http: bool = Field(
        default=False, description="Whether gateways may be reached without TLS; for gateways in the own network only."
    )
    timeout: Duration = Field(default=Duration.parse("15s"), description="How long a gateway may take to answer.")


class HttpTransport:
    """The transport. Implements `PushTransport`."""

    kind = "http"

    def __init__(self, context: PluginContext, settings: PushGatewaySettings) -> None:
        self._http = context.http
        self._log = context.log
        self._settings = settings

    def check(self, pusher: Pusher) -> None:
        url = pusher.data.get("url")
        if not isinstance(url, str):
            raise missing_param("`data.url` is missing.")
        parts = urlsplit(url)
        allowed = ("https", "http") if self._settings.allow_http else ("https",)
        if parts.scheme not in allowed or not parts.hostname or parts.username is not None:
            raise invalid_param("`data.url` must be an https URL.")
        if parts.path != _PATH:
            raise invalid_param(f"The path of `data.url` must be {_PATH}.")
        wanted = pusher.data.get("format")
        if wanted is not None and wanted != _EVENT_ID_ONLY:
            raise invalid_param(f"`data.format` may only be {_EVENT_ID_ONLY}.")

    async def deliver(self, pusher: Pusher, notification: Notification) -> Collection[str]:
        """The pushkeys the gateway rejects."""
        try:
            answer = await self._http.request(
                "POST",
                str(pusher.data["url"]),
                json={"notification": _body(pusher, notification)},
                timeout_s=self._settings.timeout.seconds,
                max_bytes=_LARGEST_ANSWER,
            )
        except RemoteFailure as failure:
            raise DeliveryFailed(str(failure)) from failure
        return self._rejected(pusher, answer)

    def _rejected(self, pusher: Pusher, answer: HttpResponse) -> Collection[str]:
        if not 200 <= answer.status < 300:
            raise DeliveryFailed(f"the push gateway answered {answer.status}")
        try:
            found = answer.json()
        except RemoteFailure as failure:
            raise DeliveryFailed(str(failure)) from failure
        rejected = found.get("rejected", []) if isinstance(found, dict) else []
        if pusher.pushkey not in rejected:
            return ()
        self._log.info("push gateway rejects a pushkey", user_id=pusher.user_id, app_id=pusher.app_id)
        return [pusher.pushkey]


class Plugin:
    """`push_gateway`."""

    Settings = PushGatewaySettings

    def __init__(self, context: PluginContext, settings: PushGatewaySettings) -> None:
        self._transport = HttpTransport(context, settings)

    @hookimpl
    def register_push_transports(self) -> Sequence[PushTransport]:
        return [self._transport]


def _body(pusher: Pusher, notification: Notification) -> dict[str, Any]:
    payload = dict(notification.payload)
    if pusher.data.get("format") == _EVENT_ID_ONLY:
        payload = {key: payload[key] for key in _KEPT_WITH_EVENT_ID_ONLY if key in payload}
    device: dict[str, Any] = {
        "app_id": pusher.app_id,
        "pushkey": pusher.pushkey,
        "pushkey_ts": pusher.pushkey_ts_ms // 1000,
        "data": {key: value for key, value in pusher.data.items() if key != "url"},
    }
    if notification.tweaks:
        device["tweaks"] = dict(notification.tweaks)
    return {**payload, "devices": [device]}
