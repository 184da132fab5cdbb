"""Calls: credentials for TURN servers that relay them, and pushes that make a phone ring.
Credentials are made from a secret shared with the TURN server (coturn's `use-auth-secret`), or are fixed ones.

Spec: client-server-api #voice-over-ip
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from homeserver.plugin_api import (
    BaseUrl,
    Duration,
    Notification,
    PluginContext,
    Pusher,
    Secret,
    Section,
    TurnCredentials,
    TurnCredentialSource,
    hookimpl,
)

_SCHEMES = ("turn:", "turns:", "stun:", "stuns:")
_RINGING = frozenset(
    {"m.call.invite", "m.call.notify", "org.matrix.msc4075.call.notify", "org.matrix.msc4075.rtc.notification"}
)


class TurnSettings(Section):
    """TURN servers for calls."""

    uris: list[str] = Field(default=[], description="The servers, e.g. turn:turn.example.org?transport=udp.")
    shared_secret: Secret | None = Field(
        default=None, description="The secret shared with the TURN server (static-auth-secret of coturn)."
    )
    username: str | None = Field(default=None, description="A fixed user name, where there is no shared secret.")
    password: Secret | None = Field(default=None, description="The fixed password that goes with it.")
    lifetime: Duration = Field(default=Duration.parse("1d"), description="How long credentials can be used.")
    allow_guests: bool = Field(default=False, description="Whether guests get credentials.")
    livekit_url: BaseUrl | None = Field(
        default=None, description="The LiveKit JWT service of Element Call, named in /.well-known/matrix/client."
    )

    @field_validator("uris")
    @classmethod
    def _are_turn_uris(cls, uris: list[str]) -> list[str]:
        for uri in uris:
            if not uri.startswith(_SCHEMES):
                raise ValueError(f"{uri!r} must begin with turn: or turns:")
        return uris

    @model_validator(mode="after")
    def _credentials_are_whole(self) -> Self:
        fixed = (self.username is None, self.password is None)
        if self.shared_secret is not None and False in fixed:
            raise ValueError("either shared_secret, or username and password")
        if fixed in ((True, False), (False, True)):
            raise ValueError("username and password go together")
        if self.uris and self.shared_secret is None and self.username is None:
            raise ValueError("uris need a shared_secret, or username and password")
        return self


class Plugin:
    """`turn_credentials`. Implements `TurnCredentialSource` itself."""

    Settings = TurnSettings

    def __init__(self, context: PluginContext, settings: TurnSettings) -> None:
        self._clock = context.clock
        self._settings = settings

    @hookimpl
    def provide_turn_credentials(self) -> TurnCredentialSource:
        return self

    @hookimpl
    async def transform_push_payload(self, pusher: Pusher, notification: Notification) -> Notification:
        """A call rings, and at once, whatever the phone was doing."""
        if notification.payload.get("type") not in _RINGING:
            return notification
        payload = {**notification.payload, "prio": "high"}
        return replace(notification, payload=payload, tweaks={"sound": "ring", **notification.tweaks})

    @hookimpl
    def register_rtc_transports(self) -> Sequence[Mapping[str, Any]]:
        if self._settings.livekit_url is None:
            return []
        return [{"type": "livekit", "livekit_service_url": self._settings.livekit_url}]

    async def credentials_for(self, user_id: str, *, is_guest: bool) -> TurnCredentials | None:
        settings = self._settings
        if not settings.uris or (is_guest and not settings.allow_guests):
            return None
        if settings.shared_secret is None:
            assert settings.username is not None
            assert settings.password is not None
            return TurnCredentials(settings.username, settings.password.reveal(), settings.uris, settings.lifetime)
        expires_s = (self._clock.now_ms() + settings.lifetime) // 1000
        username = f"{expires_s}:{user_id}"
        # SHA-1 is what TURN servers compute; as an HMAC it is sound.
        digest = hmac.new(settings.shared_secret.reveal().encode(), username.encode(), hashlib.sha1).digest()
        return TurnCredentials(username, base64.b64encode(digest).decode("ascii"), settings.uris, settings.lifetime)
