"""The application behind both ASGI servers, over a loopback socket: what only a real server can get wrong.
Percent-encoding, HEAD, streams, large bodies, a client that hangs up.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import uvicorn
from hypercorn.asyncio import serve
from hypercorn.config import Config
from servers import free_port
from starlette.responses import Response, StreamingResponse
from yarl import URL

from homeserver.web.app import WebApp, WebSettings, build_asgi
from homeserver.web.endpoint import Auth, endpoint, routes_of
from homeserver.web.request import Request
from homeserver.web.requester import Requester


class Endpoints:
    def __init__(self) -> None:
        self.hung_up = asyncio.Event()

    @endpoint("PUT", "/rooms/{roomId}/state/{eventType}/{stateKey}", auth=Auth.NONE, body=dict)
    async def put_state(self, request: Request, body: dict[str, Any]) -> Any:
        return {"path": request.path, "body": body, "target": request.target, "address": request.client_address}

    @endpoint("GET", "/stream", auth=Auth.NONE)
    async def stream(self, request: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(100):
                yield b"x" * 1000

        return StreamingResponse(chunks())

    @endpoint("POST", "/bodiless", auth=Auth.NONE)
    async def bodiless(self, request: Request) -> Any:
        return {}

    @endpoint("GET", "/poll", auth=Auth.NONE)
    async def poll(self, request: Request) -> Any:
        await request.wait_for_disconnect()
        self.hung_up.set()
        return {}


class Nobody:
    async def authenticate(self, token: str, request: Request) -> Requester:
        raise NotImplementedError

    def check(self, bucket: str, requester: Requester | None, address: str) -> None:
        raise NotImplementedError


class Served:
    def __init__(self, endpoints: Endpoints, app: WebApp, port: int) -> None:
        self.endpoints = endpoints
        self.app = app
        self.base = f"http://127.0.0.1:{port}"


async def until_it_answers(base: str) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(250):
            try:
                async with session.get(f"{base}/health"):
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.02)
    raise TimeoutError(base)


async def run_hypercorn(app: WebApp, port: int, stop: asyncio.Event) -> None:
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.graceful_timeout = 0.1
    await serve(app, config, shutdown_trigger=stop.wait)  # type: ignore[arg-type]


async def run_uvicorn(app: WebApp, port: int, stop: asyncio.Event) -> None:
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, loop="none", timeout_graceful_shutdown=1))
    serving = asyncio.ensure_future(server._serve())
    await stop.wait()
    server.should_exit = True
    await serving


@pytest.fixture(params=[run_hypercorn, run_uvicorn], ids=["hypercorn", "uvicorn"])
async def served(request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    endpoints = Endpoints()
    app = build_asgi(routes_of(endpoints), Nobody(), Nobody(), settings=WebSettings(max_body_bytes=10_000))
    port, stop = free_port(), asyncio.Event()
    running = asyncio.ensure_future(request.param(app, port, stop))
    here = Served(endpoints, app, port)
    await until_it_answers(here.base)
    yield here
    stop.set()
    await running


async def test_paths_arrive_as_they_were_sent(served: Served) -> None:
    url = URL(f"{served.base}/rooms/!a%2Fb%3Ac/state/m.type/%E2%98%83%20%25?x=%2F", encoded=True)
    async with aiohttp.ClientSession() as session, session.put(url, json={"a": "ä"}) as answer:
        assert await answer.json() == {
            "path": {"roomId": "!a/b:c", "eventType": "m.type", "stateKey": "☃ %"},
            "body": {"a": "ä"},
            "target": "/rooms/!a%2Fb%3Ac/state/m.type/%E2%98%83%20%25?x=%2F",
            "address": "127.0.0.1",
        }
        assert answer.headers.getall("Access-Control-Allow-Origin") == ["*"]


async def test_streams_and_heads(served: Served) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{served.base}/stream") as answer:
            assert len(await answer.read()) == 100_000
        async with session.head(f"{served.base}/health") as answer:
            assert (answer.status, answer.headers["Content-Length"]) == (200, "2")
        async with session.options(f"{served.base}/nowhere") as answer:
            assert answer.status == 204


async def test_large_bodies_are_refused_with_an_answer(served: Served) -> None:
    url = f"{served.base}/rooms/!r/state/t/k"
    async with aiohttp.ClientSession() as session, session.put(url, data=b"x" * 10_001) as answer:
        assert (answer.status, (await answer.json())["errcode"]) == (413, "M_TOO_LARGE")


async def test_a_client_that_hangs_up_is_noticed(served: Served) -> None:
    timeout = aiohttp.ClientTimeout(total=0.1)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        with pytest.raises(TimeoutError):
            await session.get(f"{served.base}/poll")
    async with asyncio.timeout(5):
        await served.endpoints.hung_up.wait()
    assert await served.app.drain(5) == 0


@pytest.mark.parametrize("path", ["/bodiless", "/nowhere"])
async def test_a_body_that_nobody_reads_does_not_cost_the_connection(served: Served, path: str) -> None:
    host, _, port = served.base.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = b"{" + b" " * 20_000 + b"}"
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    try:
        for _ in range(3):
            writer.write(head)
            await writer.drain()
            await asyncio.sleep(0.05)
            writer.write(body)
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 404"))
            assert b"connection: close" not in answer.lower()
            length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
    finally:
        writer.close()
