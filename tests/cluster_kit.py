"""Several processes of one server: homeservers on one PostgreSQL database, over a bus that may lose things.

All in this process. A user's requests go to a process drawn at random.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from server_kit import Server, User, settings_for
from starlette.types import Receive, Scope, Send

from homeserver.app.homeserver import Homeserver
from homeserver.runtime.background import BackgroundTasks
from homeserver.services.cluster.bus import Bus
from homeserver.storage.postgres import PostgresDatabase
from homeserver.testing import AsgiClient


class Channel:
    """What Redis is to real processes. `loss` is the share of messages that vanish, for each receiver apart."""

    def __init__(self, seed: int = 0) -> None:
        self.loss = 0.0
        self.is_up = True
        self._random = random.Random(seed)
        self._receivers: list[Callable[[bytes], None]] = []

    def join(self) -> Bus:
        """The end of one process."""
        return _End(self)

    def add(self, receive: Callable[[bytes], None]) -> None:
        self._receivers.append(receive)

    def spread(self, message: bytes) -> None:
        loop = asyncio.get_running_loop()
        for receive in self._receivers:
            if self.is_up and self._random.random() >= self.loss:
                loop.call_soon(receive, message)


class _End:
    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    @property
    def is_up(self) -> bool:
        return self._channel.is_up

    async def start(self, receive: Callable[[bytes], None], background: BackgroundTasks, database_id: str) -> None:
        self._channel.add(receive)

    async def publish(self, message: bytes) -> None:
        self._channel.spread(message)
        await asyncio.sleep(0)

    async def stop(self) -> None:
        return


class ManyProcesses(Server):
    """A server of several processes. Users' requests wander; `at` keeps those of one user in one place."""

    def __init__(self, processes: list[Server], channel: Channel, seed: int = 1) -> None:
        super().__init__(processes[0].homeserver)
        self.processes = processes
        self.channel = channel
        self._random = random.Random(seed)
        self.client = AsgiClient(self._anywhere)

    async def _anywhere(self, scope: Scope, receive: Receive, send: Send) -> None:
        process = self._random.choice(self.processes)
        await process.app(scope, receive, send)

    def at(self, number: int, user: User) -> User:
        """The same user at one process."""
        client = self.processes[number].client.with_token(user.client.token)
        return User(user.user_id, client, user.device_id, _numbers=user._numbers)


@asynccontextmanager
async def running_processes(
    folder: Path, url: str, number: int = 2, *, bus: bool = True, **sections: Any
) -> AsyncIterator[ManyProcesses]:
    """`number` processes on the database at `url`."""
    channel = Channel()
    channel.is_up = bus
    async with AsyncExitStack() as stack:
        starting = [running_process(folder, url, channel, **sections) for _ in range(number)]
        processes = [await stack.enter_async_context(one) for one in starting]
        yield ManyProcesses(processes, channel)


@asynccontextmanager
async def running_process(folder: Path, url: str, channel: Channel, **sections: Any) -> AsyncIterator[Server]:
    """One of them."""
    homeserver = Homeserver(settings_for(folder, **sections), database=PostgresDatabase(url), bus=channel.join())
    try:
        await homeserver.start()
        yield Server(homeserver)
    finally:
        await homeserver.stop()
