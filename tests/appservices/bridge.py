"""A little application service on loopback that writes down what it is asked, and answers as a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from server_kit import SERVER, V3, Server, User

from homeserver.testing import Answer

AS_TOKEN = "a token of the service"
HS_TOKEN = "a token of the server"
SENDER = f"@_irc_bot:{SERVER}"


@dataclass
class Asked:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, str]
    token: str | None
    body: Any


@dataclass
class Bridge:
    """Run it with `running_bridge`. `status` is what transactions are answered with."""

    port: int = 0
    status: int = 200
    asked: list[Asked] = field(default_factory=list)
    transactions: list[tuple[str, Any]] = field(default_factory=list)
    answers: dict[str, Callable[[Asked], Awaitable[tuple[int, Any]]]] = field(default_factory=dict)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    def registration(self, **changes: Any) -> dict[str, Any]:
        """A registration of this bridge, as its file would hold it."""
        return {
            "id": "irc",
            "url": f"http://127.0.0.1:{self.port}",
            "as_token": AS_TOKEN,
            "hs_token": HS_TOKEN,
            "sender_localpart": "_irc_bot",
            "namespaces": {
                "users": [{"exclusive": True, "regex": "@_irc_.*"}],
                "aliases": [{"exclusive": True, "regex": "#_irc_.*"}],
                "rooms": [],
            },
            **changes,
        }

    async def handle(self, request: web.Request) -> web.Response:
        raw = await request.read()
        body = await request.json() if raw else None
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        asked = Asked(
            request.method, request.rel_url.raw_path, dict(request.query), token if scheme == "Bearer" else None, body
        )
        status, answer = await self._answer(asked)
        async with self._news:
            self.asked.append(asked)
            self._news.notify_all()
        return web.json_response(answer, status=status)

    async def _answer(self, asked: Asked) -> tuple[int, Any]:
        for start, answer in self.answers.items():
            if asked.path.startswith(start):
                return await answer(asked)
        if "/transactions/" not in asked.path:
            return 404, {"errcode": "M_NOT_FOUND"}
        if self.status == 200:
            self._take(asked.path.rpartition("/")[2], asked.body)
        return self.status, {}

    def _take(self, transaction_id: str, body: Any) -> None:
        """A transaction that comes again, because its answer was lost, is the same one and changes nothing."""
        known = dict(self.transactions).get(transaction_id)
        assert known in (None, body)
        if known is None:
            self.transactions.append((transaction_id, body))

    async def until(self, found: Callable[[], Any], seconds: float = 5.0) -> Any:
        """What `found` finds, as soon as it finds something."""
        async with self._news:
            async with asyncio.timeout(seconds):
                await self._news.wait_for(found)
        return found()

    @property
    def events(self) -> list[Any]:
        """All events that have arrived, in order."""
        return [event for _, body in self.transactions for event in body["events"]]

    def told(self, key: str) -> list[Any]:
        """The entries of a list in all transactions."""
        return [item for _, body in self.transactions for item in body.get(key, ())]

    async def body_arrives(self, text: str, seconds: float = 5.0) -> Any:
        """The message that says `text`."""

        def find() -> Any:
            return next((event for event in self.events if event["content"].get("body") == text), None)

        return await self.until(find, seconds)


@asynccontextmanager
async def running_bridge() -> AsyncIterator[Bridge]:
    bridge = Bridge()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", bridge.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    bridge.port = runner.addresses[0][1]
    try:
        yield bridge
    finally:
        await runner.cleanup()


@dataclass
class Puppeteer:
    """Calls the server with the service's token."""

    server: Server

    async def ask(self, method: str, path: str, body: Any = None, *, user: str | None = None, **query: str) -> Answer:
        """`path` is below /_matrix/client/v3; `user` is the localpart to act as."""
        if user is not None:
            query["user_id"] = f"@{user}:{SERVER}"
        path = path if path.startswith("/_matrix") else V3 + path
        return await self.server.client.request(method, path, json=body, query=query, token=AS_TOKEN)

    async def call(self, method: str, path: str, body: Any = None, *, user: str | None = None, **query: str) -> Any:
        answer = await self.ask(method, path, body, user=user, **query)
        assert answer.status == 200, f"{method} {path}: {answer.status} {answer.body!r}"
        return answer.json

    async def register(self, name: str) -> str:
        body = {"type": "m.login.application_service", "username": name, "inhibit_login": True}
        return str((await self.call("POST", "/register", body))["user_id"])


async def bridged_room(server: Server, puppeteer: Puppeteer, alice: User, puppet: str = "_irc_bob") -> str:
    """A room of alice's with a puppet in it."""
    room_id = await alice.create_room(preset="public_chat")
    await puppeteer.register(puppet)
    await puppeteer.call("POST", f"/join/{room_id}", {}, user=puppet)
    return room_id
