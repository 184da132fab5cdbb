"""Hooks about the plugin's own life."""

from __future__ import annotations

from typing import Protocol

from homeserver.plugin_api.markers import hookspec


class LifecycleHooks(Protocol):
    @hookspec
    async def on_start(self) -> None:
        """The server is about to answer requests; from here on the context works. Called in the order of the YAML.

        Unlike other observers, a failure here stops the start: better no server than one without its plugin.
        """

    @hookspec
    async def on_stop(self) -> None:
        """The server is stopping. Called in reverse order, for every plugin that was started."""
