"""Sends delayed events when they are due: in order within a room, rooms beside each other.

One process does it; those that came due while no process ran are sent at the start.

Spec: MSC4140
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from homeserver.protocol.errors import MatrixError
from homeserver.storage import delayed_events as storage

if TYPE_CHECKING:
    from homeserver.runtime.background import BackgroundTasks
    from homeserver.runtime.clock import Clock
    from homeserver.services.cluster.leases import Leases
    from homeserver.services.delayed_events.delayed_events import DelayedEvents
    from homeserver.storage.database import Database
    from homeserver.storage.delayed_events import DelayedEvent
    from homeserver_config.sections.delayed_events import DelayedEventSettings

_BATCH = 100
_LOOK_EVERY_S = 60.0
# What another process schedules is not heard of here.
_LOOK_FOR_OTHERS_EVERY_S = 1.0
_RETENTION_EVERY_S = 3_600.0
_log = structlog.get_logger("homeserver.delayed_events")


class DelayedEventDelivery:
    """The worker. `is_shared`: other processes schedule events too."""

    def __init__(
        self,
        settings: DelayedEventSettings,
        database: Database,
        clock: Clock,
        delayed: DelayedEvents,
        *,
        is_shared: bool,
    ) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._delayed = delayed
        self._look_every_s = _LOOK_FOR_OTHERS_EVERY_S if is_shared else _LOOK_EVERY_S
        self._woken = asyncio.Event()
        delayed.on_scheduled = self._woken.set

    async def start(self, leases: Leases, background: BackgroundTasks) -> None:
        """Begin, in one process of all, with what came due meanwhile."""

        async def begin() -> None:
            await self._database.write(storage.give_all_back)
            background.keep_running("delayed-events", self._run)
            background.run_every("delayed-events-retention", _RETENTION_EVERY_S, self.forget_old)

        await leases.begin("delayed-events", begin)

    async def forget_old(self) -> None:
        """Retention: what became of events long ago is nobody's business any more."""
        before_ms = self._clock.now_ms() - self._settings.keep_finalised
        await self._database.write(storage.delete_finalised, before_ms)

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            if not await self._send_due():
                await self._wait()

    async def _wait(self) -> None:
        """Until an event is due or a send time is new."""
        next_ms = await self._database.read(storage.find_next_due, self._clock.now_ms())
        seconds = self._look_every_s
        if next_ms is not None:
            seconds = min(seconds, max(0.0, (next_ms - self._clock.now_ms()) / 1000))
        waits = [asyncio.ensure_future(self._clock.sleep(seconds)), asyncio.ensure_future(self._woken.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _send_due(self) -> bool:
        """Send what is due; False if that was nothing."""
        due = await self._database.write(storage.claim_due, self._clock.now_ms(), _BATCH)
        by_room: dict[str, list[DelayedEvent]] = {}
        for event in due:
            by_room.setdefault(event.room_id, []).append(event)
        await asyncio.gather(*(self._send_in_order(events) for events in by_room.values()))
        return bool(due)

    async def _send_in_order(self, events: Sequence[DelayedEvent]) -> None:
        for event in events:
            await self._send(event)

    async def _send(self, event: DelayedEvent) -> None:
        try:
            event_id = await self._delayed.send_claimed(event)
        except MatrixError as refusal:
            if refusal.status >= 500:
                # Not the sender's fault. The claim runs out, and then it is tried again.
                _log.warning("a delayed event could not be sent yet", room_id=event.room_id, reason=refusal.sentence)
                return
            _log.info("a delayed event was refused", room_id=event.room_id, reason=refusal.sentence)
            error = {"errcode": refusal.errcode, "error": refusal.sentence, **refusal.extra}
            await self._database.write(storage.finalise, event.delay_id, self._clock.now_ms(), None, error)
            return
        await self._database.write(storage.finalise, event.delay_id, self._clock.now_ms(), event_id, None)
