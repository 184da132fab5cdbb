"""Brings the commits of all processes into one order, so that each hears of everything, once, by position.

A writer is answered when its process has heard of its commit and of all before it. Where a commit of another process
does not arrive, its place is filled from the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING

import structlog

from homeserver.services.cluster.commit_codec import decode_commit, encode_commit
from homeserver.storage.database import Commit, load_position

if TYPE_CHECKING:
    from homeserver.runtime.background import BackgroundTasks
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.metrics import Metrics
    from homeserver.services.cluster.bus import Bus
    from homeserver.storage.changes import Change
    from homeserver.storage.database import Database

_PATIENCE_S = 0.15
_LOOK_EVERY_S = 1.0
_LOOK_WITHOUT_BUS_S = 0.1
_LARGEST_MESSAGE = 512 * 1024
_log = structlog.get_logger("homeserver.cluster")

Apply = Callable[[Sequence["Change"], int | None], None]
Missed = Callable[[int, int], Awaitable[None]]


class CommitRelay:
    """Wire `commit` to the database, and `receive` to what comes over the bus."""

    def __init__(self, database: Database, bus: Bus, clock: Clock, metrics: Metrics, publish: Publish) -> None:
        self._database = database
        self._bus = bus
        self._clock = clock
        self._publish = publish
        self._applied = 0
        self._pending: dict[int, Commit] = {}
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = 0
        self._out_of_order_since: float | None = None
        self._filling = asyncio.Lock()
        self._apply: Apply = lambda changes, position: None
        self._missed: Missed = _nobody_missed
        missed = metrics.counter("cluster_commits_missed", "Times that commits were read from the database.")
        self._count_missed = missed.inc

    async def start(self, apply: Apply, missed: Missed, background: BackgroundTasks) -> None:
        """Begin where the log stands. `apply` follows commits in order, `missed` makes good a stretch of the log."""
        self._apply, self._missed = apply, missed
        self._applied = await self._database.read(load_position)
        background.keep_running("cluster-look", self._look)

    async def commit(self, commit: Commit) -> None:
        """A commit of this process: tell the others, and return when this process has heard of it."""
        if commit.position is None or commit.after is None:
            self._apply(commit.changes, None)
            return
        self._arrived(commit)
        message = encode_commit(commit)
        if len(message) > _LARGEST_MESSAGE:
            message = encode_commit(commit.without_details())
        await self._publish(message)
        if self._applied < commit.position:
            await self._until(commit.position)

    async def catch_up(self) -> bool:
        """Hear of everything that is in the log by now; False if that was so before."""
        position = await self._database.read(load_position)
        if position <= self._applied:
            return False
        await self._until(position)
        return True

    def receive(self, message: bytes) -> None:
        """A commit of another process."""
        try:
            commit = decode_commit(message)
        except (ValueError, KeyError, TypeError) as error:
            # Of another version of the server, in the midst of an upgrade: found in the database all the same.
            _log.info("a commit of another process cannot be read", problem=str(error))
            return
        self._arrived(commit)

    def _arrived(self, commit: Commit) -> None:
        if commit.position is None or commit.after is None or commit.position <= self._applied:
            return
        self._pending[commit.after] = commit
        self._drain()

    def _drain(self) -> None:
        while (commit := self._pending.pop(self._applied, None)) is not None and commit.position is not None:
            self._applied = commit.position
            self._apply(commit.changes, commit.position)
        if not self._pending:
            self._out_of_order_since = None
        elif self._out_of_order_since is None:
            self._out_of_order_since = self._clock.monotonic()
        while self._waiting and self._waiting[0][0] <= self._applied:
            _, _, waiter = heappop(self._waiting)
            if not waiter.done():
                waiter.set_result(None)

    async def _until(self, position: int) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._numbers += 1
        heappush(self._waiting, (position, self._numbers, waiter))
        # Sooner than the next look: our own commit is waiting for one that does not come.
        while not waiter.done():
            await asyncio.wait([waiter], timeout=_PATIENCE_S if self._bus.is_up else 0)
            if not waiter.done():
                await self._fill(position)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_S if self._bus.is_up else _LOOK_WITHOUT_BUS_S)
            since = self._out_of_order_since
            if since is not None and self._clock.monotonic() - since > _PATIENCE_S:
                await self._fill(min(self._pending))
                continue
            applied, position = self._applied, await self._database.read(load_position)
            if position > applied and self._bus.is_up:
                # It may be under way.
                await asyncio.sleep(_PATIENCE_S)
            if self._applied == applied and position > applied:
                await self._fill(position)

    async def _fill(self, up_to: int) -> None:
        """Make good what did not arrive, up to a position of the log."""
        async with self._filling:
            after = self._applied
            held = [position for position in self._pending if position > after]
            end = min([up_to, *held]) if held else up_to
            if end <= after:
                self._drain()
                return
            self._count_missed()
            _log.info("commits of other processes did not arrive; reading them", after=after, up_to=end)
            # From here on commits are applied to what was read, never lost between.
            self._applied = end
            for position in [position for position in self._pending if position < end]:
                del self._pending[position]
            try:
                await self._missed(after, end)
            except BaseException:
                self._applied = after
                raise
            self._drain()


async def _nobody_missed(after: int, up_to: int) -> None:
    """Before the start."""


Publish = Callable[[bytes], Awaitable[None]]
