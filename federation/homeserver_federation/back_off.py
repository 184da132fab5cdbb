"""Pauses for servers that cannot be reached: they double with every failure and end with the first contact.

Kept in memory for every request, and in the database across restarts.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import nsmallest
from typing import TYPE_CHECKING

from homeserver.storage.destinations import (
    BackOffRow,
    delete_back_off,
    delete_old_back_offs,
    load_back_offs,
    store_back_off,
)

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.randomness import Randomness
    from homeserver.storage.database import Database
    from homeserver_config.sections.federation import FederationSettings

_FACTOR = 2
_FORGET_AFTER_MS = 30 * 86_400_000
_MOST_SERVERS = 50_000
_CONTACT_COUNTS_EVERY_MS = 30_000


class BackOff:
    """Which servers are left alone for a while. `load()` it once the database is open."""

    def __init__(self, database: Database, settings: FederationSettings, clock: Clock, randomness: Randomness) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self._randomness = randomness
        self._failing: dict[str, BackOffRow] = {}
        self._listeners: list[Callable[[str], None]] = []
        # When a failing server last got in touch with us.
        self._contacts: dict[str, int] = {}

    async def load(self) -> None:
        """Take over what an earlier run of the server learned."""
        self._failing = {row.server_name: row for row in await self._database.read(load_back_offs)}

    def on_recovery(self, listener: Callable[[str], None]) -> None:
        """Have `listener(server_name)` called when a server that failed works again."""
        self._listeners.append(listener)

    def retry_at_ms(self, server_name: str) -> int:
        """When the server may be tried again; 0 for a server that works."""
        row = self._failing.get(server_name)
        return 0 if row is None else row.retry_at_ms

    def is_paused(self, server_name: str) -> bool:
        """Whether the server is to be left alone now."""
        return self.retry_at_ms(server_name) > self._clock.now_ms()

    def failing_since_ms(self, server_name: str) -> int | None:
        """Since when the server has failed; None for one that works."""
        row = self._failing.get(server_name)
        return None if row is None else row.failing_since_ms

    @property
    def failing(self) -> int:
        """How many servers fail."""
        return len(self._failing)

    def longest_failing_s(self, most: int) -> dict[str, float]:
        """The servers that have failed for longest, and for how many seconds."""
        now_ms = self._clock.now_ms()
        rows = nsmallest(most, list(self._failing.values()), key=lambda row: row.failing_since_ms)
        return {row.server_name: (now_ms - row.failing_since_ms) / 1000 for row in rows}

    def servers_failing_since(self, before_ms: int) -> list[str]:
        """The servers that have failed since before a time."""
        return [row.server_name for row in self._failing.values() if row.failing_since_ms < before_ms]

    async def failed(self, server_name: str) -> None:
        """The server could not be reached. Failures of requests that ran side by side count once."""
        now_ms = self._clock.now_ms()
        known = self._failing.get(server_name)
        if known is not None and known.retry_at_ms > now_ms:
            return
        pause_ms = int(self._settings.retry_at_first)
        since_ms = now_ms
        if known is not None:
            pause_ms = min(known.pause_ms * _FACTOR, int(self._settings.retry_at_most))
            since_ms = known.failing_since_ms
        # Spread, or servers that went down together would be tried together for ever.
        retry_at_ms = now_ms + round(pause_ms * self._randomness.uniform(0.9, 1.1))
        row = BackOffRow(server_name, since_ms, pause_ms, retry_at_ms)
        if known is None and len(self._failing) >= _MOST_SERVERS:
            return
        self._failing[server_name] = row
        await self._database.write(store_back_off, row)

    async def heard_from(self, server_name: str) -> None:
        """The server asked something of us, so it is worth a try. But some can send and not be reached: their requests
        count once in a while only.
        """
        if server_name not in self._failing:
            return
        now_ms = self._clock.now_ms()
        if now_ms - self._contacts.get(server_name, 0) >= _CONTACT_COUNTS_EVERY_MS:
            await self._recover(server_name)
            self._contacts[server_name] = now_ms

    async def succeeded(self, server_name: str) -> None:
        """The server answered: it works."""
        self._contacts.pop(server_name, None)
        await self._recover(server_name)

    async def _recover(self, server_name: str) -> None:
        if self._failing.pop(server_name, None) is None:
            return
        await self._database.write(delete_back_off, server_name)
        for listener in self._listeners:
            listener(server_name)

    async def forget_old(self) -> None:
        """Retention: servers that nobody has tried for a month."""
        before_ms = self._clock.now_ms() - _FORGET_AFTER_MS
        self._failing = {name: row for name, row in self._failing.items() if row.retry_at_ms >= before_ms}
        self._contacts = {name: at_ms for name, at_ms in self._contacts.items() if name in self._failing}
        await self._database.write(delete_old_back_offs, before_ms)
