"""Hooks about calls."""

from __future__ import annotations

from typing import Protocol

from homeserver.plugin_api.calls import TurnCredentialSource
from homeserver.plugin_api.markers import hookspec


class CallHooks(Protocol):
    @hookspec
    def provide_turn_credentials(self) -> TurnCredentialSource:
        """Who hands out credentials for TURN servers; one plugin at most."""
