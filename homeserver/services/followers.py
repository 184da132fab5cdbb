"""Followers of the log: each reads on from its own stored position, a batch at a time, and never misses an event.

What happens because of an event happens here, after it was written; a crash in between loses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from homeserver.storage.database import load_position
from homeserver.storage.events import load_log, load_newest_position
from homeserver.storage.followers import find_follower_position, open_follower, store_follower_position

if TYPE_CHECKING:
    from homeserver.runtime.background import BackgroundTasks
    from homeserver.storage.changes import Change
    from homeserver.storage.database import Database
    from homeserver.storage.events import StoredEvent

_STORE_AT_LEAST_EVERY = 100
PAUSE_IN_A_RUSH_S = 0.05
_LOOK_EVERY_S = 0.05
_MOST_LOOKS = 60


class Follower(Protocol):
    """Somebody who wants every event of the log, in order, at least once."""

    @property
    def name(self) -> str:
        """The name its position is stored under; never to be changed."""

    @property
    def batch_size(self) -> int:
        """The most events it takes at once."""

    @property
    def pause_s(self) -> float:
        """How long to let events gather after a batch. The first event after a quiet moment is handled at once."""

    @property
    def has_interest(self) -> bool:
        """While false, events are passed over unread."""

    async def handle(self, events: Sequence[StoredEvent], up_to: int) -> None:
        """Act on the events, of whatever standing, up to a position. After a failure the same events come again."""


class Followers:
    """Runs the followers of this process. Wire `follow` to the database's commits."""

    def __init__(self, database: Database, background: BackgroundTasks) -> None:
        self._database = database
        self._background = background
        self._running: dict[str, _Running] = {}
        self._head = 0

    async def start(self, followers: Sequence[Follower]) -> None:
        """Begin to follow, once the database is open."""
        self._head = max(self._head, await self._database.read(load_position))
        for follower in followers:
            if follower.name in self._running:
                raise ValueError(f"two followers are called {follower.name}")
            position = await self._database.write(open_follower, follower.name)
            running = _Running(self._database, follower, position)
            self._running[follower.name] = running
            self._background.keep_running(f"follower {follower.name}", running.run)
            running.wake(self._head)

    def follow(self, changes: Sequence[Change], position: int | None) -> None:
        """The log has moved."""
        if position is None:
            return
        self._head = max(self._head, position)
        for running in self._running.values():
            running.wake(self._head)

    def position_of(self, name: str) -> int:
        """How far a follower has read. Raises KeyError for one that does not run."""
        return self._running[name].position

    async def load_position_of(self, name: str) -> int:
        """The same from the database, for followers that may run elsewhere; 0 for one that never ran."""
        return await self._database.read(find_follower_position, name) or 0

    async def rewind(self, name: str, position: int) -> None:
        """Have a follower read everything after `position` again."""
        await self._database.write(store_follower_position, name, position)
        if name in self._running:
            self._running[name].rewind(position)

    async def caught_up(self, name: str) -> None:
        """Wait until a follower has handled everything that is in the log by now.

        One that runs in another process is waited for a while only.
        """
        if name in self._running:
            head = max(self._head, await self._database.read(load_position))
            await self._running[name].reached(head)
            return
        newest = await self._database.read(load_newest_position)
        for _ in range(_MOST_LOOKS):
            if await self.load_position_of(name) >= newest:
                return
            await asyncio.sleep(_LOOK_EVERY_S)


class _Running:
    """One follower at work."""

    def __init__(self, database: Database, follower: Follower, position: int) -> None:
        self._database = database
        self._follower = follower
        self._stored = position
        self._head = position
        self._moved = asyncio.Event()
        self._is_awaited = asyncio.Event()
        self._arrived = asyncio.Condition()
        self._rewound_to: int | None = None
        self.position = position

    def wake(self, head: int) -> None:
        self._head = max(self._head, head)
        self._moved.set()

    def rewind(self, position: int) -> None:
        self._rewound_to = position
        self._moved.set()

    async def reached(self, position: int) -> None:
        self._is_awaited.set()
        async with self._arrived:
            await self._arrived.wait_for(lambda: self.position >= position and self._rewound_to is None)

    async def run(self) -> None:
        """Follow for ever; whoever supervises starts it again, with pauses that grow, when handling fails."""
        while True:
            if self._rewound_to is not None:
                self.position = self._stored = self._rewound_to
                self._rewound_to = None
            if self.position >= self._head:
                self._moved.clear()
                await self._moved.wait()
                continue
            more = await self._step()
            if not more:
                await self._pause()

    async def _pause(self) -> None:
        """Let events gather for a moment, unless somebody waits for this follower."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._follower.pause_s):
                await self._is_awaited.wait()
        self._is_awaited.clear()

    async def _step(self) -> bool:
        """Handle one batch; True when the log held more than fits into one."""
        follower, head = self._follower, self._head
        events: Sequence[StoredEvent] = ()
        up_to = head
        if follower.has_interest:
            events = await self._database.read(load_log, self.position, head, follower.batch_size)
            if len(events) == follower.batch_size:
                up_to = events[-1].position or head
        if events:
            await follower.handle(events, up_to)
        if self._rewound_to is not None:
            return True
        if events or up_to - self._stored >= _STORE_AT_LEAST_EVERY:
            await self._database.write(store_follower_position, follower.name, up_to)
            self._stored = up_to
        self.position = up_to
        async with self._arrived:
            self._arrived.notify_all()
        return up_to < head
