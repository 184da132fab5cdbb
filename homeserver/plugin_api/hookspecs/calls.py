"""Hooks about calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from homeserver.plugin_api.calls import TurnCredentialSource
from homeserver.plugin_api.markers import hookspec


class CallHooks(Protocol):
    @hookspec
    def provide_turn_credentials(self) -> TurnCredentialSource:
        """Who hands out credentials for TURN servers; one plugin at most."""

    @hookspec
    def register_rtc_transports(self) -> Sequence[Mapping[str, Any]]:
        """Media servers for group calls, beside those of the settings: objects with a `type`, as clients get them."""
