"""The settings of `livekit`.
LiveKit itself must not make rooms on its own (`room.auto_create: false`), or anybody with a token would.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, field_validator

from homeserver.plugin_api import BaseUrl, Duration, Secret, Section

_SHORTEST_SECRET = 32  # LiveKit asks for as much


class LiveKitSettings(Section):
    """Group calls over a LiveKit server."""

    url: str = Field(description="Where clients reach LiveKit, e.g. wss://livekit.example.org.")
    api_key: str = Field(min_length=1, description="The name of the API key, from LiveKit's `keys`.")
    api_secret: Secret = Field(description="Its secret, at least 32 characters.")
    api_url: BaseUrl | None = Field(
        default=None, description="Where this server reaches LiveKit's API; without it, at `url`."
    )
    service_url: BaseUrl | None = Field(
        default=None, description="Where clients reach this token service; without it, below the server's own URL."
    )
    token_lifetime: Duration = Field(default=Duration.parse("1h"), description="How long a token lets somebody join.")
    empty_timeout: Duration = Field(
        default=Duration.parse("5m"), description="How long LiveKit keeps a room nobody joined."
    )
    departure_timeout: Duration = Field(
        default=Duration.parse("20s"), description="How long LiveKit keeps a room after the last participant has left."
    )
    require_membership: bool = Field(
        default=True, description="Whether people must have joined the room they want to call in."
    )

    @field_validator("url")
    @classmethod
    def _is_web_socket(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise ValueError("must be a ws:// or wss:// URL")
        return url.rstrip("/")

    @field_validator("api_secret")
    @classmethod
    def _is_long(cls, secret: Secret) -> Secret:
        if len(secret.reveal()) < _SHORTEST_SECRET:
            raise ValueError(f"must have at least {_SHORTEST_SECRET} characters")
        return secret

    @property
    def api(self) -> str:
        """The base URL of LiveKit's API: HTTP, at the place of its web socket."""
        return self.api_url or self.url.replace("ws", "http", 1)
