"""Supervised tasks: what runs beside the requests is started here, logged when it fails, and ended with the server.
A task that nobody waits for would otherwise fail in silence.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from homeserver.runtime.clock import Clock

_log = structlog.get_logger("homeserver.background")
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0


class BackgroundTasks:
    """Starts tasks and stops them all. `failures` counts, by name, how often one failed."""

    def __init__(self, clock: Clock) -> None:
        self.failures: Counter[str] = Counter()
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    @property
    def is_stopping(self) -> bool:
        """Whether nothing can be started any more."""
        return self._stopping

    @property
    def running(self) -> list[str]:
        """The names of the tasks under way."""
        return sorted(task.get_name() for task in self._tasks)

    def start(self, name: str, coroutine: Coroutine[Any, Any, object]) -> asyncio.Task[None]:
        """Run a coroutine once. RuntimeError once the server is stopping."""
        if self._stopping:
            coroutine.close()
            raise RuntimeError(f"the background task {name} was started while the server is stopping")
        task = asyncio.get_running_loop().create_task(self._run_once(name, coroutine), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # A task that is cancelled before its first step never awaits what it was given.
        task.add_done_callback(lambda _: coroutine.close())
        return task

    def run_every(
        self, name: str, seconds: float, function: Callable[[], Awaitable[object]], *, at_once: bool = False
    ) -> asyncio.Task[None]:
        """Call an async function again and again, `seconds` after it last ended; a failure is only logged."""
        return self.start(name, self._repeat(name, seconds, function, at_once))

    def keep_running(self, name: str, function: Callable[[], Awaitable[object]]) -> asyncio.Task[None]:
        """Call an async function that should not end, e.g. a follower; start it again after a failure, with pauses that
        double up to a minute. When it returns by itself, that is its end.
        """
        return self.start(name, self._restart(name, function))

    async def stop(self) -> None:
        """Cancel every task and wait until all have ended. Nothing can be started any more."""
        self._stopping = True
        while self._tasks:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _run_once(self, name: str, coroutine: Coroutine[Any, Any, object]) -> None:
        await self._attempt(name, coroutine)

    async def _attempt(self, name: str, work: Awaitable[object]) -> bool:
        try:
            await work
        except Exception as error:  # noqa: BLE001 (this is the supervised task runner)
            self.failures[name] += 1
            _log.error("background task failed", task=name, exc_info=error)
            return False
        return True

    async def _repeat(
        self, name: str, seconds: float, function: Callable[[], Awaitable[object]], at_once: bool
    ) -> None:
        if not at_once:
            await self._clock.sleep(seconds)
        while True:
            await self._attempt(name, _called(function))
            await self._clock.sleep(seconds)

    async def _restart(self, name: str, function: Callable[[], Awaitable[object]]) -> None:
        pause = _FIRST_PAUSE_S
        while True:
            started = self._clock.monotonic()
            if await self._attempt(name, _called(function)):
                return
            if self._clock.monotonic() - started > _LONGEST_PAUSE_S:
                pause = _FIRST_PAUSE_S
            await self._clock.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)


async def _called(function: Callable[[], Awaitable[object]]) -> None:
    await function()
