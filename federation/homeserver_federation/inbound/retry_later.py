"""Another try, after a while, at events that rest on what no server could tell just then.

Their senders take them for received. Kept in memory only: after a restart it takes the next event of the room to find
them again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from homeserver.runtime.background import BackgroundTasks
from homeserver.runtime.clock import Clock

_PAUSES_S = (1, 2, 4, 8, 15, 30, 60, 120)
_MOST_WAITING = 1_000
_MOST_WAITING_OF_A_SERVER = 100
_log = structlog.get_logger("homeserver.federation.retry")


class RetryLater:
    """Tries again a few times, with growing pauses."""

    def __init__(self, background: BackgroundTasks, clock: Clock) -> None:
        self._background = background
        self._clock = clock
        self._waiting: dict[str, str] = {}

    def try_again(self, origin: str, event_id: str, attempt: Callable[[], Awaitable[bool]]) -> None:
        """Call `attempt` until it returns True, unless too much that came from `origin`, or from all, is waiting."""
        if self._background.is_stopping or event_id in self._waiting or len(self._waiting) >= _MOST_WAITING:
            return
        if list(self._waiting.values()).count(origin) >= _MOST_WAITING_OF_A_SERVER:
            return
        self._waiting[event_id] = origin
        self._background.start("receive-again", self._try(event_id, attempt))

    async def _try(self, event_id: str, attempt: Callable[[], Awaitable[bool]]) -> None:
        try:
            for pause_s in _PAUSES_S:
                await self._clock.sleep(pause_s)
                if await attempt():
                    return
            _log.info("event given up", event_id=event_id)
        finally:
            self._waiting.pop(event_id, None)
