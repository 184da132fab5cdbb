"""Who does what only one process may do: sending to other servers, pushing, keeping the search index.

A lease is a row with an end. A process that finds its lease gone stops as a whole: another has taken over, and two
senders would repeat each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

import structlog

from homeserver.storage.leases import release_leases, renew_leases, take_lease

if TYPE_CHECKING:
    from homeserver.runtime.background import BackgroundTasks
    from homeserver.storage.database import Database

LIFETIME_MS = 15_000
_RENEW_EVERY_S = 4.0
_TRY_EVERY_S = 2.0
_log = structlog.get_logger("homeserver.cluster")

Begin = Callable[[], Awaitable[None]]


class Leases(Protocol):
    """Gives out what only one process may do."""

    async def begin(self, name: str, begin: Begin) -> None:
        """Have `begin` called once this process is the one; perhaps before this returns, perhaps much later."""

    def holds(self, name: str) -> bool:
        """Whether this process is the one."""

    async def release(self) -> None:
        """Background work has ended: let others begin at once."""


class OneProcess:
    """A server of one process does everything."""

    async def begin(self, name: str, begin: Begin) -> None:
        await begin()

    def holds(self, name: str) -> bool:
        return True

    async def release(self) -> None:
        return


class SharedLeases:
    """Leases in the database. `lost` is called when this process must stop because another took over."""

    def __init__(self, database: Database, holder: str, background: BackgroundTasks, lost: Callable[[], None]) -> None:
        self._database = database
        self._holder = holder
        self._background = background
        self._lost = lost
        self._held: set[str] = set()
        self._is_renewing = False

    async def begin(self, name: str, begin: Begin) -> None:
        if not self._is_renewing:
            self._is_renewing = True
            self._background.run_every("leases", _RENEW_EVERY_S, self._renew)
        if await self._take(name):
            await begin()
        else:
            self._background.start(f"lease {name}", self._wait_for(name, begin))

    def holds(self, name: str) -> bool:
        return name in self._held

    async def release(self) -> None:
        held, self._held = self._held, set()
        if held:
            await self._database.write(release_leases, self._holder)

    async def _wait_for(self, name: str, begin: Begin) -> None:
        while not await self._take(name):  # noqa: ASYNC110 - nobody here hears of a lease that ran out
            await asyncio.sleep(_TRY_EVERY_S)
        _log.info("took over", lease=name)
        await begin()

    async def _take(self, name: str) -> bool:
        if await self._database.write(take_lease, name, self._holder, LIFETIME_MS):
            self._held.add(name)
            return True
        return False

    async def _renew(self) -> None:
        if not self._held:
            return
        expected = set(self._held)
        renewed = await self._database.write(renew_leases, self._holder, LIFETIME_MS)
        gone = expected - renewed
        if gone and expected <= self._held:
            _log.error("another process has taken over; this one stops", leases=sorted(gone))
            self._lost()
