"""Push notifications to Android apps over Firebase Cloud Messaging, without a push gateway: pushers of the kind `fcm`.
For who publishes an app: the pusher's `app_id` names the app in the settings, its `pushkey` is the registration token.

Spec: FCM HTTP v1 API, RFC 7523 #section-2.1
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from pydantic import Field, field_validator

from homeserver.plugin_api import (
    BaseUrl,
    DeliveryFailed,
    Duration,
    HttpResponse,
    Notification,
    PluginContext,
    Pusher,
    PushTransport,
    RemoteFailure,
    Secret,
    Section,
    hookimpl,
    invalid_param,
)

_SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_FORM = "application/x-www-form-urlencoded"
_ASSERTION_S = 3_600
_RENEW_BEFORE_MS = 60_000
_LARGEST_ANSWER = 65_536
_LARGEST_DATA = 4_000  # FCM takes 4096 bytes
_USELESS = frozenset({"UNREGISTERED", "SENDER_ID_MISMATCH"})
_NEEDED = ("project_id", "client_email", "private_key", "token_uri")


class FcmAppSettings(Section):
    """One app."""

    app_id: str = Field(min_length=1, max_length=64, description="The `app_id` of its pushers.")
    service_account: Secret = Field(description="The JSON key of the service account, from Firebase's console.")

    @field_validator("service_account")
    @classmethod
    def _is_an_account(cls, secret: Secret) -> Secret:
        try:
            ServiceAccount(secret.reveal())
        except (ValueError, KeyError, TypeError, JoseError):
            raise ValueError("must be the JSON key of a service account") from None
        return secret


class FcmSettings(Section):
    """Push notifications over Firebase Cloud Messaging."""

    apps: list[FcmAppSettings] = Field(min_length=1, description="The apps.")
    api: BaseUrl = Field(default="https://fcm.googleapis.com", description="Where FCM's API is.")
    ttl: Duration = Field(default=Duration.parse("1d"), description="How long FCM keeps what it cannot deliver.")
    timeout: Duration = Field(default=Duration.parse("15s"), description="How long FCM may take to answer.")


class ServiceAccount:
    """The account that sends an app's notifications. ValueError or KeyError for a text that is none."""

    def __init__(self, text: str) -> None:
        found = json.loads(text)
        self.project, self.email, private_key, self.token_uri = (str(found[name]) for name in _NEEDED)
        self._key = RSAKey.import_key(private_key)

    def assertion(self, now_ms: int) -> str:
        """What an access token is given for."""
        now_s = now_ms // 1000
        claims = {
            "iss": self.email,
            "scope": _SCOPE,
            "aud": self.token_uri,
            "iat": now_s,
            "exp": now_s + _ASSERTION_S,
        }
        return jwt.encode({"typ": "JWT", "alg": "RS256"}, claims, self._key)


class _App:
    """One app, and the access token it uses until shortly before that expires."""

    def __init__(self, context: PluginContext, settings: FcmSettings, account: ServiceAccount) -> None:
        self._context = context
        self._settings = settings
        self._account = account
        self._token = ""
        self._renew_ms = 0

    async def send(self, message: Mapping[str, Any]) -> HttpResponse:
        token = await self._access_token()
        url = f"{self._settings.api}/v1/projects/{self._account.project}/messages:send"
        answer = await self._post(url, json={"message": message}, headers={"authorization": f"Bearer {token}"})
        if answer.status == 401:
            self._renew_ms = 0
        return answer

    async def _access_token(self) -> str:
        now_ms = self._context.clock.now_ms()
        if now_ms < self._renew_ms:
            return self._token
        form = urlencode({"grant_type": _GRANT, "assertion": self._account.assertion(now_ms)})
        answer = await self._post(self._account.token_uri, body=form.encode(), headers={"content-type": _FORM})
        found = answer.json() if answer.status == 200 else None
        if not isinstance(found, dict) or not isinstance(found.get("access_token"), str):
            raise DeliveryFailed(f"no access token for FCM: the answer was {answer.status}")
        lifetime_s = found.get("expires_in")
        self._token = found["access_token"]
        self._renew_ms = now_ms + (lifetime_s if isinstance(lifetime_s, int) else 0) * 1000 - _RENEW_BEFORE_MS
        return self._token

    async def _post(self, url: str, **content: Any) -> HttpResponse:
        timeout_s = self._settings.timeout.seconds
        return await self._context.http.request("POST", url, timeout_s=timeout_s, max_bytes=_LARGEST_ANSWER, **content)


class FcmTransport:
    """The transport. Implements `PushTransport`."""

    kind = "fcm"

    def __init__(self, context: PluginContext, settings: FcmSettings) -> None:
        self._context = context
        self._ttl_s = int(settings.ttl) // 1000
        self._apps = {
            app.app_id: _App(context, settings, ServiceAccount(app.service_account.reveal())) for app in settings.apps
        }

    def check(self, pusher: Pusher) -> None:
        if pusher.app_id not in self._apps:
            raise invalid_param("This server sends nothing to the app of this `app_id`.")
        if pusher.data.get("format") not in (None, "event_id_only"):
            raise invalid_param("`data.format` may only be event_id_only.")

    async def deliver(self, pusher: Pusher, notification: Notification) -> Collection[str]:
        """The registration token, if FCM knows it no more."""
        app = self._apps.get(pusher.app_id)
        if app is None:
            raise DeliveryFailed("the settings do not name this app any more")
        urgent = notification.payload.get("prio") == "high"
        message = {
            "token": pusher.pushkey,
            "data": _data(pusher, notification),
            "android": {"priority": "HIGH" if urgent else "NORMAL", "ttl": f"{self._ttl_s}s"},
        }
        try:
            answer = await app.send(message)
            return self._outcome(pusher, answer)
        except RemoteFailure as failure:
            raise DeliveryFailed(str(failure)) from failure

    def _outcome(self, pusher: Pusher, answer: HttpResponse) -> Collection[str]:
        if answer.status == 200:
            return ()
        code = _error_code(answer)
        if code in _USELESS:
            self._context.log.info("FCM rejects a registration token", user_id=pusher.user_id, app_id=pusher.app_id)
            return [pusher.pushkey]
        raise DeliveryFailed(f"FCM answered {answer.status} {code}")


class Plugin:
    """`push_fcm`."""

    Settings = FcmSettings

    def __init__(self, context: PluginContext, settings: FcmSettings) -> None:
        self._transport = FcmTransport(context, settings)

    @hookimpl
    def register_push_transports(self) -> Sequence[PushTransport]:
        return [self._transport]


def _data(pusher: Pusher, notification: Notification) -> dict[str, str]:
    """The notification as FCM's data: texts only, and no more of the content than fits; for `event_id_only` ids."""
    payload = dict(notification.payload)
    counts = payload.pop("counts", {})
    ids = {key: payload[key] for key in ("event_id", "room_id", "prio") if key in payload}
    chosen = ids if pusher.data.get("format") == "event_id_only" else payload
    for candidate in (chosen, {key: value for key, value in chosen.items() if key != "content"}, ids):
        values = {key: value if isinstance(value, str) else json.dumps(value) for key, value in candidate.items()}
        values |= {key: str(counts[key]) for key in ("unread", "missed_calls") if key in counts}
        if len(json.dumps(values).encode()) <= _LARGEST_DATA:
            break
    return values


def _error_code(answer: HttpResponse) -> str:
    """FCM's own error code, or the general one."""
    try:
        error = answer.json()["error"]
        codes = [detail["errorCode"] for detail in error.get("details", ()) if "errorCode" in detail]
        return str(codes[0] if codes else error["status"])
    except (RemoteFailure, KeyError, TypeError, AttributeError):
        return ""
