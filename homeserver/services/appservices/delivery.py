"""Sends one service what concerns it: a follower of the log with a position, a transaction under way, and a pause.

All three are stored, so that order, transaction IDs and pauses outlive a restart.

Spec: application-service-api #pushing-events
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from homeserver.runtime.http_client import RemoteFailure
from homeserver.services.appservices.interest import Interest
from homeserver.services.appservices.news import News
from homeserver.services.rooms.client_events import ClientEvents, Reader
from homeserver.storage import application_services as rows
from homeserver.storage.application_services import BackOff, QueuedTransaction
from homeserver.storage.database import load_position
from homeserver.storage.events import load_log

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.metrics import Metrics
    from homeserver.runtime.randomness import Randomness
    from homeserver.services.appservices.appservice import Appservice
    from homeserver.services.appservices.requests import AppserviceRequests
    from homeserver.services.devices.device_news import DeviceNews
    from homeserver.services.presence import Presence
    from homeserver.services.rooms.event_store import EventStore
    from homeserver.services.rooms.room import Rooms
    from homeserver.services.rooms.state_groups import StateGroups
    from homeserver.services.typing import Typing
    from homeserver.storage.changes import Change
    from homeserver.storage.database import Database
    from homeserver_config.sections.application_services import ApplicationServiceSettings

MOST_EVENTS = 100
_STORE_AT_LEAST_EVERY = 100
_FIRST_PAUSE_MS = 1_000
_AGAIN_AFTER_CONTACT_MS = 5_000
_log = structlog.get_logger("homeserver.appservices")


class DeliveryFigures:
    """What monitoring is told of all services."""

    def __init__(self, metrics: Metrics) -> None:
        self.lag = metrics.gauges(
            "appservice_lag", "How many changes of the log an application service has not been told of.", ["id"]
        )
        self.down = metrics.gauges("appservice_down", "1 while an application service cannot be reached.", ["id"])
        self.transactions = metrics.counters(
            "appservice_transactions", "Transactions sent to application services.", ["id", "outcome"]
        )
        self.events = metrics.counters("appservice_events", "Events sent to application services.", ["id"])


@dataclass(frozen=True, slots=True)
class DeliveryParts:
    """What the deliveries of all services share."""

    settings: ApplicationServiceSettings
    database: Database
    clock: Clock
    randomness: Randomness
    requests: AppserviceRequests
    rooms: Rooms
    events: EventStore
    groups: StateGroups
    client_events: ClientEvents
    typing: Typing
    presence: Presence
    devices: DeviceNews
    figures: DeliveryFigures


class Delivery:
    """The delivery to one service: run `run` as a task, wire `follow` to the database's commits."""

    def __init__(self, appservice: Appservice, parts: DeliveryParts) -> None:
        self._appservice = appservice
        self._parts = parts
        self._database = parts.database
        self._interest = Interest(appservice, parts.database, parts.rooms, parts.events, parts.groups)
        self.news = News(
            appservice, self._interest, parts.database, parts.typing, parts.presence, parts.devices, self._wake
        )
        self._moved = asyncio.Event()
        self._retry = asyncio.Event()
        self._head = 0
        self._stored = 0
        self._tried_ms = 0
        self.position = 0
        self.back_off: BackOff | None = None
        self.last_error: str | None = None

    @property
    def lag(self) -> int:
        """How many changes of the log it has not looked at."""
        return max(0, self._head - self.position)

    def follow(self, changes: Sequence[Change], position: int | None) -> None:
        """Hear of a commit."""
        self._interest.follow(changes)
        self.news.follow(changes)
        if position is not None:
            self._head = max(self._head, position)
        self._parts.figures.lag.child(self._appservice.id).set(self.lag)
        self._wake()

    def contact(self) -> None:
        """The service has asked for something, so it is up: try again soon."""
        if self.back_off is not None and self._parts.clock.now_ms() - self._tried_ms >= _AGAIN_AFTER_CONTACT_MS:
            self._retry.set()

    async def run(self) -> None:
        """Deliver for ever."""
        queue = await self._database.write(rows.open_queue, self._appservice.id)
        self.position = self._stored = queue.position
        self.back_off = queue.back_off
        self._head = max(self._head, await self._database.read(load_position))
        self._interest.start(self._head)
        if self._appservice.wants_ephemeral:
            self.news.expect_messages(await self._database.read(rows.load_waited_for))
        pending = queue.transaction
        while True:
            if pending is None:
                pending = await self._plan()
            if pending is None:
                self._moved.clear()
                if self.position >= self._head and not self.news.is_waiting:
                    await self._moved.wait()
                continue
            await self._deliver(pending)
            pending = None

    def _wake(self) -> None:
        self._moved.set()

    # Making transactions

    async def _plan(self) -> QueuedTransaction | None:
        """The next transaction, stored; None when there is nothing to say."""
        events, up_to = await self._next_events()
        if self._appservice.url is None:
            await self._pass(up_to)
            return None
        more, done = await self.news.take(events, self.position, up_to)
        if not events and not more:
            await self._pass(up_to)
            return None
        body: dict[str, Any] = {"events": self._rendered(events), **more}
        transaction_id = f"{up_to}-{self._parts.randomness.token(9)}"
        planned = QueuedTransaction(transaction_id, up_to, orjson.dumps(body), done)
        await self._database.write(rows.plan_transaction, self._appservice.id, planned)
        self._parts.figures.events.child(self._appservice.id).inc(len(events))
        return planned

    async def _next_events(self) -> tuple[list[Any], int]:
        """The next events that concern the service, and how far in the log that is."""
        after, head = self.position, self._head
        if self._appservice.url is None:
            return [], head
        while after < head:
            batch = await self._database.read(load_log, after, head, MOST_EVENTS)
            up_to = head if len(batch) < MOST_EVENTS else batch[-1].position or head
            selected = await self._interest.select(self._parts.events.prefer_cached(batch))
            if selected:
                return selected, up_to
            after = up_to
        return [], head

    def _rendered(self, events: Sequence[Any]) -> list[orjson.Fragment]:
        return self._parts.client_events.render_plain(events, Reader(self._appservice.sender))

    async def _pass(self, up_to: int) -> None:
        """There was nothing up to here."""
        if up_to - self._stored >= _STORE_AT_LEAST_EVERY:
            await self._database.write(rows.store_position, self._appservice.id, up_to)
            self._stored = up_to
        self._moved_to(up_to)

    def _moved_to(self, position: int) -> None:
        self.position = max(self.position, position)
        self._interest.passed(self.position)
        self._parts.figures.lag.child(self._appservice.id).set(self.lag)

    # Sending them

    async def _deliver(self, pending: QueuedTransaction) -> None:
        """Send a transaction until the service has it."""
        while True:
            await self._wait_for_retry()
            self._tried_ms = self._parts.clock.now_ms()
            problem = await self._send(pending)
            if problem is None:
                break
            await self._note_failure(problem)
        await self._database.write(rows.finish_transaction, self._appservice.id, pending)
        self._note_success()
        self._stored = pending.position
        self._moved_to(pending.position)

    async def _send(self, pending: QueuedTransaction) -> str | None:
        """What went wrong, None if nothing."""
        try:
            answer = await self._parts.requests.ask(
                self._appservice,
                "PUT",
                f"/transactions/{pending.transaction_id}",
                body=pending.body,
                timeout_s=self._parts.settings.request_timeout.seconds,
            )
        except RemoteFailure as failure:
            return str(failure)
        if 200 <= answer.status < 300:
            return None
        return f"it answered {answer.status}: {answer.body[:200].decode('utf-8', 'replace')}"

    async def _wait_for_retry(self) -> None:
        if self.back_off is None:
            return
        self._retry.clear()
        wait_ms = self.back_off.retry_at_ms - self._parts.clock.now_ms()
        if wait_ms <= 0:
            return
        sleeping = asyncio.ensure_future(self._parts.clock.sleep(wait_ms / 1000))
        called = asyncio.ensure_future(self._retry.wait())
        try:
            await asyncio.wait({sleeping, called}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            called.cancel()

    async def _note_failure(self, problem: str) -> None:
        now_ms = self._parts.clock.now_ms()
        old = self.back_off
        longest = int(self._parts.settings.retry_at_most)
        pause_ms = min(_FIRST_PAUSE_MS if old is None else old.pause_ms * 2, longest)
        since_ms = now_ms if old is None else old.failing_since_ms
        self.back_off = BackOff(since_ms, pause_ms, now_ms + pause_ms)
        self.last_error = problem
        figures = self._parts.figures
        figures.down.child(self._appservice.id).set(1)
        figures.transactions.child(self._appservice.id, "failed").inc()
        _log.warning(
            "application service cannot be reached; what concerns it waits",
            appservice=self._appservice.id,
            url=self._appservice.url,
            problem=problem,
            down_for_s=(now_ms - since_ms) // 1000,
            next_attempt_s=pause_ms / 1000,
        )
        await self._database.write(rows.set_back_off, self._appservice.id, self.back_off)

    def _note_success(self) -> None:
        old, self.back_off, self.last_error = self.back_off, None, None
        figures = self._parts.figures
        figures.down.child(self._appservice.id).set(0)
        figures.transactions.child(self._appservice.id, "sent").inc()
        if old is not None:
            down_for_s = (self._parts.clock.now_ms() - old.failing_since_ms) // 1000
            _log.info(
                "application service is back", appservice=self._appservice.id, down_for_s=down_for_s, lag=self.lag
            )


def wake_all(deliveries: Iterable[Delivery]) -> None:
    """Presence is told once in a while, not change by change."""
    for delivery in deliveries:
        delivery.news.spread_presence()
