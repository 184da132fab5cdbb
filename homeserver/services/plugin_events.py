"""Tells one plugin of the events in the log, from the plugin's own position.

An event at which a plugin keeps failing is passed over in the end, so that it does not block those after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from homeserver.protocol.receipt import Standing
from homeserver.services.followers import PAUSE_IN_A_RUSH_S

if TYPE_CHECKING:
    from homeserver.plugin_api.hooks import EventObserver
    from homeserver.storage.events import StoredEvent

_MOST_ATTEMPTS = 10
_log = structlog.get_logger("homeserver.plugins")


class PluginEvents:
    """A follower of the log on behalf of one plugin."""

    batch_size = 100
    pause_s = PAUSE_IN_A_RUSH_S
    has_interest = True

    def __init__(self, observer: EventObserver) -> None:
        self.name = follower_name(observer.plugin)
        self._observer = observer
        self._told_up_to = 0
        self._attempts = 0

    def forget(self) -> None:
        """The plugin wants to be told again of what it was told already."""
        self._told_up_to = 0

    async def handle(self, events: Sequence[StoredEvent], up_to: int) -> None:
        for stored in events:
            position = stored.position
            if stored.standing is not Standing.ACCEPTED or position is None or position <= self._told_up_to:
                continue
            await self._tell(stored)
            self._attempts = 0
            self._told_up_to = position

    async def _tell(self, stored: StoredEvent) -> None:
        event = stored.event if stored.redacted_by is None else stored.event.redacted(stored.redacted_by)
        try:
            await self._observer.tell(event)
        except Exception:
            self._attempts += 1
            if self._attempts < _MOST_ATTEMPTS:
                raise
            _log.error("event passed over", plugin=self._observer.plugin, event_id=stored.event_id)


def follower_name(plugin: str) -> str:
    """The name under which a plugin's position in the log is stored."""
    return f"plugin {plugin}"
