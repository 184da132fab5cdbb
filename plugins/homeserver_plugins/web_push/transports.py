"""Delivers to push services: encrypted for browsers (RFC 8030), and in the clear for older UnifiedPush apps.

Spec: RFC 8030 #section-5, MSC4174, UnifiedPush server-to-server API
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson
from cryptography.hazmat.primitives.asymmetric import ec

from homeserver.plugin_api import (
    DeliveryFailed,
    Notification,
    PluginContext,
    Pusher,
    RemoteFailure,
    invalid_param,
    missing_param,
)
from homeserver_plugins.web_push.encryption import (
    AUTH_BYTES,
    LARGEST_PLAINTEXT,
    decode_base64url,
    encode_base64url,
    encrypt,
    read_public_key,
)
from homeserver_plugins.web_push.settings import WebPushSettings
from homeserver_plugins.web_push.vapid import VapidKey

_EVENT_ID_ONLY = "event_id_only"
_IDS = ("event_id", "room_id", "counts", "prio")
_GONE = (404, 410)
_TOO_LARGE = 413
_LARGEST_ANSWER = 65_536
_TOPIC_LETTERS = 32


class _PushService:
    """Requests to push services, as both transports make them."""

    def __init__(self, context: PluginContext, settings: WebPushSettings) -> None:
        self._context = context
        self._settings = settings

    def check_url(self, url: object, name: str) -> None:
        if not isinstance(url, str):
            raise missing_param(f"`data.{name}` is missing.")
        parts = urlsplit(url)
        allowed = ("https", "http") if self._settings.allow_http else ("https",)
        if parts.scheme not in allowed or not parts.hostname or parts.username is not None:
            raise invalid_param(f"`data.{name}` must be an https URL.")

    async def post(self, pusher: Pusher, url: str, body: bytes, headers: Mapping[str, str]) -> Collection[str]:
        """The pushkey if the subscription is gone; DeliveryFailed to try again later."""
        try:
            answer = await self._context.http.request(
                "POST",
                url,
                body=body,
                headers={"ttl": str(int(self._settings.ttl) // 1000), **headers},
                timeout_s=self._settings.timeout.seconds,
                max_bytes=_LARGEST_ANSWER,
            )
        except RemoteFailure as failure:
            raise DeliveryFailed(str(failure)) from failure
        if answer.status in _GONE:
            return [pusher.pushkey]
        if answer.status == _TOO_LARGE:
            self._context.log.warning("push service finds a message too large", app_id=pusher.app_id, bytes=len(body))
            return ()
        if not 200 <= answer.status < 300:
            raise DeliveryFailed(f"the push service answered {answer.status}")
        return ()


class WebPushTransport:
    """Encrypted messages to the subscriptions of browsers and apps. Implements `PushTransport`."""

    def __init__(
        self, kind: str, context: PluginContext, settings: WebPushSettings, key: Callable[[], VapidKey]
    ) -> None:
        self.kind = kind
        self._context = context
        self._key = key
        self._service = _PushService(context, settings)

    def check(self, pusher: Pusher) -> None:
        self._service.check_url(_endpoint_of(pusher), "url")
        _check_format(pusher)
        try:
            read_public_key(pusher.pushkey)
        except ValueError:
            raise invalid_param("`pushkey` must be the subscription's public key, in URL-safe base64.") from None
        auth = pusher.data.get("auth")
        if not isinstance(auth, str):
            raise missing_param("`data.auth` is missing.")
        if not _is_auth_secret(auth):
            raise invalid_param("`data.auth` must be 16 bytes in URL-safe base64.")
        if not isinstance(pusher.data.get("default_payload", {}), dict):
            raise invalid_param("`data.default_payload` must be an object.")

    async def deliver(self, pusher: Pusher, notification: Notification) -> Collection[str]:
        """The pushkey of a subscription that has ended."""
        if notification.event_id is None and pusher.data.get("events_only") is True:
            return ()
        endpoint = str(_endpoint_of(pusher))
        body = encrypt(
            _fitting(_web_payload(pusher, notification)),
            read_public_key(pusher.pushkey),
            decode_base64url(str(pusher.data["auth"])),
            ec.generate_private_key(ec.SECP256R1()),
            self._context.randomness.bytes(16),
        )
        headers = {
            "authorization": self._key().authorization(endpoint, self._context.clock.now_ms()),
            "content-encoding": "aes128gcm",
            "content-type": "application/octet-stream",
            "urgency": _urgency(notification),
        }
        room_id = notification.payload.get("room_id")
        if isinstance(room_id, str) and pusher.data.get("only_last_per_room") is True:
            headers["topic"] = encode_base64url(hashlib.sha256(room_id.encode()).digest())[:_TOPIC_LETTERS]
        return await self._service.post(pusher, endpoint, body, headers)


class UnifiedPushTransport:
    """The notification as a push gateway would hand it on, without the gateway. Implements `PushTransport`."""

    kind = "unifiedpush"

    def __init__(self, context: PluginContext, settings: WebPushSettings) -> None:
        self._service = _PushService(context, settings)

    def check(self, pusher: Pusher) -> None:
        self._service.check_url(pusher.data.get("url"), "url")
        _check_format(pusher)

    async def deliver(self, pusher: Pusher, notification: Notification) -> Collection[str]:
        device: dict[str, Any] = {"app_id": pusher.app_id, "pushkey": pusher.pushkey}
        if notification.tweaks:
            device["tweaks"] = dict(notification.tweaks)
        # Nothing hides this from the push service: it is told ids unless the app asks for more.
        payload = dict(notification.payload) if pusher.data.get("format") == "full" else _ids_of(notification.payload)
        body = orjson.dumps({"notification": {**payload, "devices": [device]}})
        if len(body) > LARGEST_PLAINTEXT:
            body = orjson.dumps({"notification": {**_ids_of(payload), "devices": [device]}})
        headers = {"content-type": "application/json", "urgency": _urgency(notification)}
        return await self._service.post(pusher, str(pusher.data["url"]), body, headers)


def _endpoint_of(pusher: Pusher) -> object:
    """MSC4174 says `url`; its earlier drafts and the web clients of push gateways say `endpoint`."""
    return pusher.data.get("url", pusher.data.get("endpoint"))


def _check_format(pusher: Pusher) -> None:
    wanted = pusher.data.get("format")
    if wanted not in (None, _EVENT_ID_ONLY, "full"):
        raise invalid_param(f"`data.format` may only be {_EVENT_ID_ONLY} or full.")


def _is_auth_secret(text: str) -> bool:
    try:
        return len(decode_base64url(text)) == AUTH_BYTES
    except ValueError:
        return False


def _web_payload(pusher: Pusher, notification: Notification) -> dict[str, Any]:
    """What the service worker gets: the notification, with the counts beside it as gateways put them."""
    payload = dict(notification.payload)
    if pusher.data.get("format") == _EVENT_ID_ONLY:
        payload = _ids_of(payload)
    elif notification.tweaks:
        payload["tweaks"] = dict(notification.tweaks)
    unread = {"unread": count} if (count := payload.get("counts", {}).get("unread")) is not None else {}
    return {**pusher.data.get("default_payload", {}), **payload, **unread}


def _fitting(payload: dict[str, Any]) -> bytes:
    """The payload, without the message's content, and then without all but the ids, where it is too large."""
    for candidate in (payload, {key: value for key, value in payload.items() if key != "content"}):
        body = orjson.dumps(candidate)
        if len(body) <= LARGEST_PLAINTEXT:
            return body
    return orjson.dumps(_ids_of(payload))


def _ids_of(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {key: payload[key] for key in _IDS if key in payload}


def _urgency(notification: Notification) -> str:
    return "high" if notification.payload.get("prio") == "high" else "low"
