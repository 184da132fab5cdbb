"""Lets downloads wait for uploads that were promised, in this process and others.

An upload in this process wakes its waiters at once; one elsewhere is found by looking every second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from homeserver.storage.media import Media

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock

_LOOK_EVERY_S = 1.0


class Arrivals:
    """Who waits for which media id."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def announce(self, media_id: str) -> None:
        """The upload is here."""
        for event in self._waiting.get(media_id, ()):
            event.set()

    async def wait(self, media: Media, timeout_ms: int, load: Callable[[], Awaitable[Media | None]]) -> Media | None:
        """The media as `load` gives it once it is uploaded or gone, or as it is after `timeout_ms`."""
        arrived = asyncio.Event()
        self._waiting.setdefault(media.media_id, set()).add(arrived)
        deadline = self._clock.monotonic() + timeout_ms / 1000
        try:
            current: Media | None = await load()
            while current is not None and not current.is_uploaded:
                left = deadline - self._clock.monotonic()
                if left <= 0:
                    break
                await self._pause(arrived, min(left, _LOOK_EVERY_S))
                current = await load()
            return current
        finally:
            waiters = self._waiting[media.media_id]
            waiters.discard(arrived)
            if not waiters:
                del self._waiting[media.media_id]

    async def _pause(self, arrived: asyncio.Event, seconds: float) -> None:
        tasks = [asyncio.ensure_future(arrived.wait()), asyncio.ensure_future(self._clock.sleep(seconds))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
