"""Schedules events for later, and lets their senders look at them, restart, cancel or send them.

Who knows a `delay_id` may manage its event: the service that watches a call does so for clients that have gone.

Spec: MSC4140
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson

from homeserver.protocol.errors import MatrixError, forbidden, limit_exceeded, not_found, too_large, unknown
from homeserver.protocol.event_format import MAX_EVENT_BYTES
from homeserver.services.rooms.append_event import DELAYED_EVENT, SentTransaction
from homeserver.storage import delayed_events as storage
from homeserver.storage.delayed_events import DelayedEvent

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.randomness import Randomness
    from homeserver.services.rooms.send_event import SendEvent
    from homeserver.storage.database import Database
    from homeserver_config.sections.delayed_events import DelayedEventSettings


class DelayedEvents:
    """`on_scheduled` is called when a send time is new."""

    def __init__(
        self,
        settings: DelayedEventSettings,
        database: Database,
        clock: Clock,
        randomness: Randomness,
        send: SendEvent,
    ) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._send = send
        self.on_scheduled: Callable[[], None] = _nobody_waits

    @property
    def capability(self) -> dict[str, int]:
        return {"max_delay_ms": int(self._settings.max_delay), "max_scheduled": self._settings.max_scheduled}

    async def schedule(
        self,
        user_id: str,
        room_id: str,
        event_type: str,
        state_key: str | None,
        content: dict[str, Any],
        delay_ms: int,
        transaction: SentTransaction | None,
        *,
        timestamp_ms: int | None = None,
    ) -> str:
        """Have an event sent in `delay_ms`, and return its `delay_id`; the same again for a repeated transaction.

        Raises M_FORBIDDEN for a delay above the maximum, M_LIMIT_EXCEEDED, M_TOO_LARGE.
        """
        if not self._settings.enabled:
            raise forbidden("This server sends no delayed events.")
        if delay_ms > self._settings.max_delay:
            raise _too_long(self._settings.max_delay)
        if len(orjson.dumps(content)) > MAX_EVENT_BYTES:
            raise too_large("The event is larger than an event may be.")
        now_ms = self._clock.now_ms()
        event = DelayedEvent(
            self._randomness.token(),
            user_id,
            room_id,
            event_type,
            state_key,
            content,
            timestamp_ms,
            delay_ms,
            now_ms,
        )
        key = None
        if transaction is not None:
            key = orjson.dumps([transaction.device_id, transaction.scope, transaction.transaction_id]).decode()
        delay_id, next_ms = await self._database.write(storage.schedule, event, key, self._settings.max_scheduled)
        if delay_id is None:
            raise limit_exceeded(max(1, (next_ms or now_ms) - now_ms))
        self.on_scheduled()
        return delay_id

    async def list_scheduled(self, user_id: str) -> list[dict[str, Any]]:
        """What a user has scheduled, the next to be sent first."""
        return [_shown(event) for event in await self._database.read(storage.load_scheduled, user_id)]

    async def get(self, user_id: str, delay_id: str) -> dict[str, Any]:
        """One event of a user, also after it was sent or cancelled. Raises M_NOT_FOUND."""
        event = await self._find(delay_id, user_id)
        return {**_shown(event), **_outcome(event)}

    async def restart(self, delay_id: str, user_id: str | None = None) -> None:
        """Count the delay from now. M_NOT_FOUND; M_UNKNOWN with 409 when it is finalised."""
        await self._find(delay_id, user_id)
        if not await self._database.write(storage.restart, delay_id, self._clock.now_ms()):
            raise _finalised()
        self.on_scheduled()

    async def cancel(self, delay_id: str, user_id: str | None = None) -> None:
        """Never send it. M_NOT_FOUND; M_UNKNOWN with 409 when it was sent."""
        await self._find(delay_id, user_id)
        if not await self._database.write(storage.cancel, delay_id, self._clock.now_ms()):
            event = await self._find(delay_id, user_id)
            if event.finalised_ms is None or event.event_id is not None:
                raise _finalised()

    async def send_now(self, delay_id: str, user_id: str | None = None) -> None:
        """Send it at once; what hinders that is raised, and it stays scheduled. 409 when it was cancelled."""
        await self._find(delay_id, user_id)
        event = await self._database.write(storage.claim, delay_id, self._clock.now_ms())
        if event is None:
            event = await self._find(delay_id, user_id)
            if event.finalised_ms is not None and event.event_id is None:
                raise _finalised()
            return
        try:
            event_id = await self.send_claimed(event)
        except MatrixError:
            await self._database.write(storage.give_back, delay_id)
            self.on_scheduled()
            raise
        await self._database.write(storage.finalise, delay_id, self._clock.now_ms(), event_id, None)

    async def send_claimed(self, event: DelayedEvent) -> str:
        """Put an event into its room and return its id. Doing it again after a crash sends nothing twice."""
        transaction = SentTransaction(DELAYED_EVENT, DELAYED_EVENT, event.delay_id)
        sender, room_id, event_type = event.user_id, event.room_id, event.event_type
        if event.state_key is None:
            return await self._send.send_message(
                sender, room_id, event_type, event.content, transaction, timestamp_ms=event.timestamp_ms
            )
        return await self._send.set_state(
            sender,
            room_id,
            event_type,
            event.state_key,
            event.content,
            transaction=transaction,
            timestamp_ms=event.timestamp_ms,
        )

    async def _find(self, delay_id: str, user_id: str | None) -> DelayedEvent:
        event = await self._database.read(storage.find_delayed, delay_id)
        if event is None or user_id not in {None, event.user_id}:
            raise not_found("There is no such delayed event.")
        return event


def _shown(event: DelayedEvent) -> dict[str, Any]:
    """As senders see it; `delay` and `running_since` are the names that older clients read."""
    shown: dict[str, Any] = {
        "delay_id": event.delay_id,
        "room_id": event.room_id,
        "type": event.event_type,
        "delay_ms": event.delay_ms,
        "delay": event.delay_ms,
        "scheduled_at": event.scheduled_ms,
        "running_since": event.scheduled_ms,
        "content": event.content,
    }
    if event.state_key is not None:
        shown["state_key"] = event.state_key
    return shown


def _outcome(event: DelayedEvent) -> dict[str, Any]:
    outcome = {"finalised_ts": event.finalised_ms, "event_id": event.event_id, "error": event.error}
    return {name: value for name, value in outcome.items() if value is not None}


def _finalised() -> MatrixError:
    return unknown("This delayed event was sent or cancelled already, or is just being sent.", 409)


def _too_long(max_delay_ms: int) -> MatrixError:
    extra: dict[str, Any] = {
        "org.matrix.msc4140.errcode": "M_MAX_DELAY_EXCEEDED",
        "org.matrix.msc4140.max_delay": int(max_delay_ms),
    }
    return MatrixError("M_FORBIDDEN", f"Events can be delayed by {max_delay_ms} ms at most.", 403, extra=extra)


def _nobody_waits() -> None:
    """Until the worker runs."""
