"""Hooks about third-party identifiers: how telephones are reached."""

from __future__ import annotations

from typing import Protocol

from homeserver.plugin_api.markers import hookspec
from homeserver.plugin_api.third_party_ids import SmsSender


class ThirdPartyIdHooks(Protocol):
    @hookspec
    def provide_sms_sender(self) -> SmsSender:
        """What sends codes to telephones. Without it, people cannot add telephone numbers."""
