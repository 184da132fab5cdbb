"""Builds delayed events: those who schedule and manage them, and the one process that sends them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from homeserver.client_api.delayed_events import DelayedEventsApi
from homeserver.services.delayed_events.delayed_events import DelayedEvents
from homeserver.services.delayed_events.delivery import DelayedEventDelivery

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from homeserver.runtime.background import BackgroundTasks
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.randomness import Randomness
    from homeserver.services.cluster.leases import Leases
    from homeserver.services.rate_limiter import RateLimits
    from homeserver.services.rooms.send_event import SendEvent
    from homeserver.storage.database import Database
    from homeserver_config.settings import Settings


class DelayedEventParts:
    """Served and sent by this process, unless the settings turn them off."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        clock: Clock,
        randomness: Randomness,
        send: SendEvent,
        *,
        is_shared: bool,
    ) -> None:
        section = settings.delayed_events
        self.is_enabled = section.enabled
        self.delayed = DelayedEvents(section, database, clock, randomness, send)
        self.delivery = DelayedEventDelivery(section, database, clock, self.delayed, is_shared=is_shared)

    async def start(self, leases: Leases, background: BackgroundTasks) -> None:
        """What was scheduled before they were turned off is sent all the same."""
        await self.delivery.start(leases, background)

    def api(self, limits: RateLimits) -> DelayedEventsApi:
        return DelayedEventsApi(self.delayed, limits)

    def features(self) -> Mapping[str, bool]:
        return {"org.matrix.msc4140": self.is_enabled}

    def capabilities(self) -> Mapping[str, Mapping[str, Any]]:
        return {"org.matrix.msc4140.delayed_events": self.delayed.capability} if self.is_enabled else {}
