"""A bad network: every request from one server to another passes a link that mistreats it, by a seed.

Requests are held up (and so overtake each other), lost on the way there or back, and delivered twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from homeserver.runtime.http_client import HttpClient, RemoteFailure, RemoteTimeout, StreamedResponse
from homeserver.testing import Answer
from homeserver_config.sections.outgoing import OutgoingSettings


class Weather:
    """How bad the network is. Calm, it only delivers."""

    def __init__(self) -> None:
        self.random = Random(0)
        self.loss = 0.0
        self.duplication = 0.0
        self.longest_delay_s = 0.0
        self.cut: set[frozenset[str]] = set()

    def storm(self, seed: int) -> None:
        """Bad weather of a kind that the seed decides."""
        self.random = Random(f"weather {seed}")
        self.loss = self.random.choice([0.0, 0.05, 0.2])
        self.duplication = self.random.choice([0.0, 0.1])
        self.longest_delay_s = self.random.choice([0.0, 0.02, 0.05, 2.0])

    def calm(self) -> None:
        """From now on everything arrives."""
        self.loss = self.duplication = self.longest_delay_s = 0.0
        self.cut.clear()


class Link(HttpClient):
    """The way of one server's requests to the others, by the hosts of their URLs."""

    def __init__(self, source: str, weather: Weather, deliver: Callable[..., asyncio.Task[Answer] | None]) -> None:
        """`deliver(target, method, path, body, headers)` has a server answer; None from one that is not there."""
        super().__init__(OutgoingSettings())
        self._source = source
        self._weather = weather
        self._deliver = deliver

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        json: Any = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        max_bytes: int | None = None,
        redirects: int = 0,
        server_hostname: str | None = None,
        verify_tls: bool = True,
    ) -> AsyncIterator[StreamedResponse]:
        target, _, path = url.removeprefix("http://").partition("/")
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._send(target.partition(":")[0], method, f"/{path}", body, headers or {})
        except TimeoutError:
            raise RemoteTimeout(f"{target} took too long to answer") from None
        yield _Whole(answer, url)

    async def _send(self, target: str, method: str, path: str, body: bytes | None, headers: Any) -> Answer:
        weather, ends = self._weather, frozenset((self._source, target))
        await self._pause()
        if self._is_lost(ends):
            raise RemoteFailure("the request was lost")
        request = (target, method, path, body, headers)
        if weather.random.random() < weather.duplication:
            self._deliver(*request)
            await self._pause()
        under_way = self._deliver(*request)
        if under_way is None:
            raise RemoteFailure("nobody listens")
        # Whoever gives up waiting does not stop the other side.
        await asyncio.wait([under_way])
        if under_way.cancelled():
            raise RemoteFailure("the connection ended")
        await self._pause()
        if self._is_lost(ends):
            raise RemoteFailure("the answer was lost")
        return under_way.result()

    async def _pause(self) -> None:
        await asyncio.sleep(self._weather.random.uniform(0, self._weather.longest_delay_s))

    def _is_lost(self, ends: frozenset[str]) -> bool:
        return ends in self._weather.cut or self._weather.random.random() < self._weather.loss


class _Whole(StreamedResponse):
    """An answer that is there already."""

    __slots__ = ("_body",)

    def __init__(self, answer: Answer, url: str) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self.url = url
        self._body = answer.body

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._body
