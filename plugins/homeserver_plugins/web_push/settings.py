"""The settings of `web_push`.
A key that was published must not change: browsers accept messages signed with the one they subscribed with.
"""

from __future__ import annotations

from pydantic import Field, field_validator

from homeserver.plugin_api import Duration, Secret, Section
from homeserver_plugins.web_push.vapid import VapidKey


class WebPushSettings(Section):
    """Push notifications without a gateway."""

    contact: str = Field(
        default="",
        description="How push services reach you: a mailto: or https: URL. Without it, the server's own URL.",
    )
    vapid_private_key: Secret | None = Field(
        default=None, description="The private VAPID key, 32 bytes in URL-safe base64. Made and kept without it."
    )
    ttl: Duration = Field(
        default=Duration.parse("1d"), description="How long push services keep what they cannot deliver."
    )
    timeout: Duration = Field(default=Duration.parse("15s"), description="How long a push service may take to answer.")
    allow_http: bool = Field(
        default=False, description="Whether push services may be reached without TLS; in the own network only."
    )

    @field_validator("contact")
    @classmethod
    def _is_contact(cls, contact: str) -> str:
        if contact and not contact.startswith(("mailto:", "https://")):
            raise ValueError("must begin with mailto: or https://")
        return contact

    @field_validator("vapid_private_key")
    @classmethod
    def _is_key(cls, key: Secret | None) -> Secret | None:
        if key is not None:
            VapidKey.read(key.reveal(), "")
        return key
