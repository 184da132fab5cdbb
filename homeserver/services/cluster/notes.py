"""What processes tell each other beside commits, about things that are never stored or kept in memory by all.

A note that is lost costs a moment: a typing notice, or an account read again only when its cache entry is due.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson
import structlog

if TYPE_CHECKING:
    from homeserver.runtime.background import BackgroundTasks
    from homeserver.runtime.randomness import Randomness
    from homeserver.services.cluster.bus import Bus

_MOST_WAITING = 10_000
_COMMIT, _NOTE = b"c", b"n"
_NAME_BYTES = 8
_log = structlog.get_logger("homeserver.cluster")


class Notes:
    """The traffic of one process: what it says is not told to itself."""

    def __init__(self, bus: Bus, randomness: Randomness) -> None:
        self._bus = bus
        self._name = randomness.bytes(_NAME_BYTES)
        self._handlers: dict[str, Callable[..., object]] = {}
        self._on_commit: Callable[[bytes], None] = _drop
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(_MOST_WAITING)

    @property
    def name(self) -> str:
        """The name of this process among the others."""
        return self._name.hex()

    async def start(self, on_commit: Callable[[bytes], None], background: BackgroundTasks, database_id: str) -> None:
        """Begin to listen and to speak, among the processes of one database."""
        self._on_commit = on_commit
        await self._bus.start(self._receive, background, database_id)
        background.keep_running("cluster-notes", self._speak)

    def on(self, topic: str, handler: Callable[..., object]) -> None:
        """Have `handler(*values)` called when another process tells about a topic."""
        self._handlers[topic] = handler

    def tell(self, topic: str, *values: Any) -> None:
        """Tell the other processes, soon; JSON values only."""
        if not self._waiting.full():
            self._waiting.put_nowait(_NOTE + self._name + orjson.dumps([topic, values]))

    async def publish_commit(self, commit: bytes) -> None:
        """Tell the other processes of a commit, now."""
        await self._bus.publish(_COMMIT + self._name + commit)

    async def _speak(self) -> None:
        while True:
            await self._bus.publish(await self._waiting.get())

    def _receive(self, message: bytes) -> None:
        kind, name, content = message[:1], message[1 : 1 + _NAME_BYTES], message[1 + _NAME_BYTES :]
        if name == self._name:
            return
        if kind == _COMMIT:
            self._on_commit(content)
        elif kind == _NOTE:
            self._note(content)

    def _note(self, content: bytes) -> None:
        try:
            topic, values = orjson.loads(content)
            handler = self._handlers.get(topic)
            if handler is not None:
                handler(*values)
        except (ValueError, TypeError) as error:
            # Of another version of the server, in the midst of an upgrade.
            _log.info("a note of another process cannot be read", problem=str(error))


def _drop(commit: bytes) -> None:
    """Before the start."""
