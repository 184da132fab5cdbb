"""Hooks about events: a say before one is sent, and the news of each one after."""

from __future__ import annotations

from typing import Any, Protocol

from homeserver.plugin_api.markers import hookspec
from homeserver.plugin_api.rooms import RoomView
from homeserver.protocol.event_builder import EventDraft
from homeserver.protocol.events import Event


class EventHooks(Protocol):
    @hookspec
    async def check_event_allowed(self, draft: EventDraft, room: RoomView) -> dict[str, Any] | None:
        """May this event be sent? Asked of what this server's users send, before any lock is taken.

        Return None to let it pass, or a dict to send in place of the event's content; the next plugin is asked about
        that. Raise MatrixError to refuse.
        """

    @hookspec
    async def on_event(self, event: Event) -> None:
        """An event was written to the log, this server's or another's.

        Each plugin is told from its own stored position, in the order of the log, at least once: after a failure the
        event comes again, with pauses that grow, and is passed over after ten attempts.
        """
