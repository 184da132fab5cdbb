"""Killed between sending and the acknowledgement: a real process, found and reached the way the specification says."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from federation.certificates import Authority
from federation.network import free_port
from server_process import ServerProcess, make_client

REMOTE_TIMEOUT_S = 20


class SlowServer:
    """A server at an address of loopback that takes transactions, and answers none until it is told to."""

    def __init__(self) -> None:
        self.port = free_port()
        self.received: list[tuple[str, Any]] = []
        self.may_answer = asyncio.Event()
        self.arrived = asyncio.Event()
        self._runner: web.AppRunner | None = None

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self, context: ssl.SSLContext) -> None:
        app = web.Application()
        app.router.add_put("/_matrix/federation/v1/send/{id}", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=context).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def next(self) -> tuple[str, Any]:
        """The transaction that comes next."""
        async with asyncio.timeout(REMOTE_TIMEOUT_S):
            await self.arrived.wait()
        self.arrived.clear()
        return self.received[-1]

    async def _take(self, request: web.Request) -> web.Response:
        self.received.append((request.match_info["id"], orjson.loads(await request.read())))
        self.arrived.set()
        await self.may_answer.wait()
        return web.json_response({"pdus": {}})


async def test_the_same_transaction_comes_again_and_no_other_before_it(tmp_path: Path) -> None:
    authority, remote = Authority(tmp_path), SlowServer()
    await remote.start(authority.context_for("127.0.0.1"))
    sections = {
        "federation": {"ca_certificates": [str(authority.path)], "trusted_key_servers": []},
        "outgoing": {"ip_ranges_allowed": ["127.0.0.0/8"]},
    }
    process = ServerProcess(tmp_path, sections=sections)
    await process.start()
    try:
        async with aiohttp.ClientSession() as session:
            alice = await make_client(process.url, session, "alice")
            await alice.call("PUT", "/sendToDevice/m.test/one", message(remote, 1))
            first = await remote.next()
            await alice.call("PUT", "/sendToDevice/m.test/two", message(remote, 2))
        process.kill()
        await process.start()
        again = await remote.next()
        assert again == first
        remote.may_answer.set()
        transaction_id, body = await remote.next()
        assert transaction_id != first[0]
        sent = [edu["content"]["messages"] for edu in (*first[1]["edus"], *body["edus"])]
        assert sent == [message(remote, 1)["messages"], message(remote, 2)["messages"]]
    finally:
        process.stop()
        await remote.stop()


def message(remote: SlowServer, number: int) -> dict[str, Any]:
    return {"messages": {f"@bob:{remote.name}": {"PHONE": {"number": number}}}}
