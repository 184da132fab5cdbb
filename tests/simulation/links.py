"""A bad network between real servers: every request from one to another passes a link that mistreats it, by a seed.

Requests are held up (and so overtake each other), lost on the way there or back, and delivered twice.
"""

from __future__ import annotations

import asyncio
from random import Random

import aiohttp
from aiohttp import web
from federation.network import free_port
from multidict import CIMultiDict
from yarl import URL

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding"}


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
        self.longest_delay_s = self.random.choice([0.0, 0.02, 0.05])

    def calm(self) -> None:
        """From now on everything arrives."""
        self.loss = self.duplication = self.longest_delay_s = 0.0
        self.cut.clear()


class Link:
    """The way from one server to another: listens on a port of its own, forwards to the other server's."""

    def __init__(self, source: str, target: str, target_port: int, weather: Weather) -> None:
        self.port = free_port()
        self._ends = frozenset((source, target))
        self._target_port = target_port
        self._weather = weather
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._session = aiohttp.ClientSession(auto_decompress=False)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        weather = self._weather
        body = await request.read()
        await asyncio.sleep(weather.random.uniform(0, weather.longest_delay_s))
        if self._ends in weather.cut or weather.random.random() < weather.loss:
            return self._nothing(request)
        if weather.random.random() < weather.duplication:
            await self._forward(request, body)
        answer = await self._forward(request, body)
        await asyncio.sleep(weather.random.uniform(0, weather.longest_delay_s))
        if answer is None or self._ends in weather.cut or weather.random.random() < weather.loss:
            return self._nothing(request)
        return answer

    async def _forward(self, request: web.Request, body: bytes) -> web.Response | None:
        assert self._session is not None
        headers = CIMultiDict((name, value) for name, value in request.headers.items() if _may_pass(name))
        url = URL(f"http://127.0.0.1:{self._target_port}{request.raw_path}", encoded=True)
        try:
            async with self._session.request(request.method, url, data=body or None, headers=headers) as answer:
                passed = {name: value for name, value in answer.headers.items() if _may_pass(name)}
                return web.Response(status=answer.status, body=await answer.read(), headers=passed)
        except aiohttp.ClientError:
            return None

    @staticmethod
    def _nothing(request: web.Request) -> web.StreamResponse:
        """The connection ends without an answer."""
        if request.transport is not None:
            request.transport.close()
        return web.Response(status=502)


def _may_pass(name: str) -> bool:
    return name.lower() not in _HOP_BY_HOP
