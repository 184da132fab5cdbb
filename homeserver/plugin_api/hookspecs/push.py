"""Hooks about push notifications: how they travel, and what they say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from homeserver.plugin_api.markers import hookspec
from homeserver.plugin_api.push import Notification, Pusher, PushTransport


class PushHooks(Protocol):
    @hookspec
    def register_push_transports(self) -> Sequence[PushTransport]:
        """Transports for kinds of pushers. Two for one kind clash."""

    @hookspec
    async def transform_push_payload(self, pusher: Pusher, notification: Notification) -> Notification | None:
        """The notification as it is to be sent to this pusher; None to send nothing. No next plugin is asked then."""
