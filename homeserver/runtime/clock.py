"""Time, as a collaborator: the system's clock for the server, a hand-moved one for tests.
Nothing else in the server asks the operating system what time it is.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from heapq import heappop, heappush


class Clock(ABC):
    """What time it is, and how to wait."""

    @abstractmethod
    def now_ms(self) -> int:
        """Milliseconds since 1970, as `origin_server_ts` wants them. May jump when the system's clock is set."""

    @abstractmethod
    def monotonic(self) -> float:
        """Seconds from some moment; never goes back."""

    @abstractmethod
    async def sleep(self, seconds: float) -> None:
        """Wait; at once for zero or less."""


class SystemClock(Clock):
    """The operating system's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class ManualClock(Clock):
    """A clock that stands still until it is moved; sleepers wake in the order of their deadlines."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._start_ms = now_ms
        self._passed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now_ms(self) -> int:
        return self._start_ms + round(self._passed * 1000)

    def monotonic(self) -> float:
        return self._passed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heappush(self._sleepers, (self._passed + seconds, self._count, sleeper))
        await sleeper

    async def advance(self, seconds: float) -> None:
        """Move on, stopping at every deadline on the way so that whoever wakes can act and sleep again."""
        target = self._passed + seconds
        await _let_others_run()
        while self._sleepers and self._sleepers[0][0] <= target:
            deadline, _, sleeper = heappop(self._sleepers)
            self._passed = max(self._passed, deadline)
            if not sleeper.done():
                sleeper.set_result(None)
            await _let_others_run()
        self._passed = target


async def _let_others_run() -> None:
    for _ in range(10):
        await asyncio.sleep(0)
