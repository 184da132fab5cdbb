"""An event loop in a time of its own: nobody ever waits, and the same program takes the same course every time.

When nothing is left to do at a moment, the time jumps to the next timer. Threads do not exist: what would be handed to
one is done at once.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from asyncio import SelectorEventLoop
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from homeserver.runtime.clock import Clock

T = TypeVar("T")
_BEGINNING_MS = 1_700_000_000_000


class NothingWillHappen(Exception):
    """Everybody waits for somebody else."""


class SimulatedLoop(SelectorEventLoop):
    """Run a coroutine with `run`."""

    def __init__(self) -> None:
        self._passed = 0.0
        super().__init__(_Jumping(self._jump))

    def time(self) -> float:
        return self._passed

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run until `main` has returned, and end whatever it left behind."""
        asyncio.set_event_loop(self)
        try:
            return self.run_until_complete(main)
        finally:
            left = sorted(asyncio.all_tasks(self), key=lambda task: task.get_name())
            for task in left:
                task.cancel()
            self.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            asyncio.set_event_loop(None)
            self.close()

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 (handed to whoever awaits it)
            future.set_exception(error)
        return future

    def _jump(self, seconds: float | None) -> None:
        if seconds is None:
            raise NothingWillHappen
        self._passed = max(self._passed + seconds, math.nextafter(self._passed, math.inf))


class SimulatedClock(Clock):
    """The clock of the loop it is asked in."""

    def now_ms(self) -> int:
        return _BEGINNING_MS + round(self.monotonic() * 1000)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class _Jumping(selectors.SelectSelector):
    """Looks at what there is to read or write, and instead of waiting lets the time jump."""

    def __init__(self, jump: Callable[[float | None], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and (timeout is None or timeout > 0):
            self._jump(timeout)
        return ready
