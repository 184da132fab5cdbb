"""The queue of one server: one transaction under way at a time, until nothing waits or the server fails.

Spec: server-server-api #transactions
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from homeserver.storage.outbound_transactions import NewTransaction, next_transaction
from homeserver_federation.outbound.unsent import Unsent

if TYPE_CHECKING:
    from homeserver.runtime.background import BackgroundTasks
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.randomness import Randomness
    from homeserver.storage.database import Database
    from homeserver_federation.back_off import BackOff
    from homeserver_federation.outbound.transmission import Transmission

_MOST_AT_ONCE = 150
_MOST_CATCHING_UP = 10


class Slots:
    """How many servers are sent to at the same time: few of those that were away, many of the others."""

    def __init__(self) -> None:
        self.sending = asyncio.Semaphore(_MOST_AT_ONCE)
        self.catching_up = asyncio.Semaphore(_MOST_CATCHING_UP)


@dataclass(frozen=True, slots=True)
class QueueParts:
    """What all queues share. `on_idle` is told of a queue that has nothing to do, `on_sent` of each transaction."""

    database: Database
    transmission: Transmission
    back_off: BackOff
    background: BackgroundTasks
    clock: Clock
    randomness: Randomness
    slots: Slots
    on_idle: Callable[[DestinationQueue], None]
    on_sent: Callable[[bool], None]


class DestinationQueue:
    """`wake` it whenever something for the server was stored, or put into `unsent`."""

    def __init__(self, server_name: str, parts: QueueParts) -> None:
        self.server_name = server_name
        self.unsent = Unsent()
        self._parts = parts
        self._news = False
        self._running = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing is known to wait, and nothing runs."""
        return not self._running and not self._news and not self.unsent

    @property
    def is_running(self) -> bool:
        return self._running

    def wake(self, *, catching_up: bool = False) -> None:
        """There is something to send. `catching_up`: after an outage, so that others go first."""
        self._news = True
        if not self._running and not self._parts.back_off.is_paused(self.server_name):
            self._running = True
            self._parts.background.start("federation-send", self._run(catching_up))

    async def _run(self, catching_up: bool) -> None:
        slots = self._parts.slots
        try:
            async with slots.catching_up if catching_up else slots.sending:
                await self._send_all()
        finally:
            self._running = False
            self._parts.on_idle(self)

    async def _send_all(self) -> None:
        arrived: str | None = None
        while self._news or self.unsent or arrived is not None:
            self._news = False
            taken = self.unsent.take()
            new = NewTransaction(self._parts.randomness.token(12), self._parts.clock.now_ms(), taken.edus())
            transaction = await self._parts.database.write(next_transaction, self.server_name, arrived, new)
            arrived = None
            if transaction is None:
                continue
            if not transaction.is_new:
                self.unsent.put_back(taken)
            delivered = await self._parts.transmission.send(self.server_name, transaction)
            self._parts.on_sent(delivered)
            if not delivered:
                self._news = True
                self.unsent.drop_stale()
                return
            arrived = transaction.transaction_id
