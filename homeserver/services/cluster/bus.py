"""The bus between the processes of a server, over Redis: what is published reaches all others, or is lost.

Nobody relies on it: who misses a commit finds it in the database.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import structlog

if TYPE_CHECKING:
    from homeserver.runtime.background import BackgroundTasks

_TIMEOUT_S = 2.0
_LONGEST_PAUSE_S = 5.0
_log = structlog.get_logger("homeserver.cluster")


class Bus(Protocol):
    """Messages between processes."""

    @property
    def is_up(self) -> bool:
        """False while messages may be getting lost."""

    async def start(self, receive: Callable[[bytes], None], background: BackgroundTasks, database_id: str) -> None:
        """Begin to listen to the processes of one database. What this process publishes may come back to it."""

    async def publish(self, message: bytes) -> None:
        """Send to all; never raises."""

    async def stop(self) -> None:
        """Let go of all connections."""


class NoBus:
    """No messages: processes find each other's commits in the database."""

    is_up = False

    async def start(self, receive: Callable[[bytes], None], background: BackgroundTasks, database_id: str) -> None:
        return

    async def publish(self, message: bytes) -> None:
        return

    async def stop(self) -> None:
        return


class RedisBus:
    """A channel of Redis for each database, so that servers may share a Redis."""

    def __init__(self, url: str) -> None:
        # Not needed by a server of one process.
        from redis.asyncio import Redis

        self._redis: Any = Redis.from_url(
            url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, health_check_interval=0
        )
        self._listener: Any = Redis.from_url(url, socket_connect_timeout=_TIMEOUT_S)
        self._channel = ""
        self._is_listening = False
        self._can_publish = True
        self._subscribed = asyncio.Event()

    @property
    def is_up(self) -> bool:
        return self._is_listening and self._can_publish

    async def start(self, receive: Callable[[bytes], None], background: BackgroundTasks, database_id: str) -> None:
        self._channel = f"starling:{database_id}"
        background.start("cluster-bus", self._listen(receive))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TIMEOUT_S):
                await self._subscribed.wait()

    async def publish(self, message: bytes) -> None:
        from redis.exceptions import RedisError

        try:
            await self._redis.publish(self._channel, message)
        except (RedisError, OSError, TimeoutError) as error:
            if self._can_publish:
                _log.warning("redis cannot be reached; other processes hear of changes later", problem=str(error))
            self._can_publish = False
        else:
            if not self._can_publish:
                _log.info("redis is back")
            self._can_publish = True

    async def stop(self) -> None:
        await self._redis.aclose()
        await self._listener.aclose()

    async def _listen(self, receive: Callable[[bytes], None]) -> None:
        from redis.exceptions import RedisError

        pause_s = 0.1
        while True:
            try:
                async with self._listener.pubsub() as channel:
                    await channel.subscribe(self._channel)
                    async for message in channel.listen():
                        if message["type"] == "subscribe":
                            self._is_listening = True
                            self._subscribed.set()
                            pause_s = 0.1
                        elif message["type"] == "message":
                            receive(message["data"])
            except (RedisError, OSError, TimeoutError) as error:
                if self._is_listening:
                    _log.warning("the connection to redis is lost", problem=str(error))
            self._is_listening = False
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
