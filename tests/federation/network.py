"""Real homeservers that find each other by name over loopback HTTP, and a server of our own making to play the others.

Names like `alpha.test` are mapped to ports by hand; everything else is what runs in production.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from hypercorn.asyncio import serve
from hypercorn.config import Config
from server_kit import Server, User, settings_for
from yarl import URL

from homeserver.app import Homeserver
from homeserver.protocol.event_builder import EventDraft
from homeserver.protocol.signing import SigningKey
from homeserver.runtime.clock import SystemClock
from homeserver.services.accounts.sessions import ClientDetails
from homeserver.storage.sqlite import SqliteDatabase
from homeserver_federation.key_answers import OwnKeys
from homeserver_federation.outbound.sender import FOLLOWER
from homeserver_federation.server_discovery import Destination, FixedDiscovery
from homeserver_federation.x_matrix import NO_CONTENT, authorization_header

FAST = {"retry_at_first": "100ms", "retry_at_most": "1s", "request_timeout": "10s", "trusted_key_servers": []}


class FederatedServer(Server):
    """A homeserver of the network. `url` is where it listens."""

    def __init__(self, name: str, homeserver: Homeserver, port: int) -> None:
        super().__init__(homeserver)
        self.name = name
        self.port = port
        self._ended = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def federation(self) -> Any:
        assert self.homeserver.federation is not None
        return self.homeserver.federation

    async def user(self, name: str, *, device_id: str | None = None, admin: bool = False) -> User:
        """A logged-in user; a further device when there is an account of this name."""
        user_id = f"@{name}:{self.name}"
        accounts = self.homeserver.accounts
        if await accounts.accounts.find(user_id) is None:
            await accounts.accounts.create(name, admin=admin)
        session = await accounts.sessions.begin(user_id, ClientDetails(device_id=device_id, address="192.0.2.1"))
        return User(user_id, self.client.with_token(session.credentials.access_token), session.device.device_id)

    async def let_in(self, room_id: str, user_id: str, membership: str = "join") -> str:
        """Put a membership of another server's user into a room, as if it had come over federation."""
        draft = EventDraft(room_id, "m.room.member", user_id, {"membership": membership}, state_key=user_id)
        [stored] = await self.homeserver.rooms.append.append(room_id, lambda _: [draft])
        return stored.event_id

    async def listen(self) -> None:
        """Answer on the port."""
        config = Config()
        config.bind = [f"127.0.0.1:{self.port}"]
        config.accesslog = None
        config.errorlog = None
        config.graceful_timeout = 0.1
        config.shutdown_timeout = 0.1
        self._ended.clear()
        app: Any = self.homeserver.asgi(self.homeserver.settings.listeners[0])
        self._listening = asyncio.create_task(
            serve(app, config, shutdown_trigger=self._ended.wait, mode="asgi")  # type: ignore[arg-type]
        )
        await accepting(self.port)

    async def hang_up(self) -> None:
        """Stop answering; the homeserver itself goes on."""
        self._ended.set()
        if self._listening is not None:
            await self._listening
            self._listening = None

    async def stop(self) -> None:
        await self.hang_up()
        await self.homeserver.stop()


@dataclass
class Network:
    """Servers by name. `add` real ones, `add_fake` played ones; names nobody has cannot be reached."""

    folder: Path
    discovery: FixedDiscovery = field(default_factory=lambda: FixedDiscovery({}))
    servers: dict[str, FederatedServer] = field(default_factory=dict)
    fakes: list[FakeServer] = field(default_factory=list)

    async def add(self, name: str, **sections: Any) -> FederatedServer:
        """Start a homeserver. `sections` are sections of its settings, laid over those of the network."""
        port = self.ports().setdefault(name, free_port())
        self.discovery.places[name] = place(name, port)
        server = FederatedServer(name, self._homeserver(name, sections), port)
        await server.homeserver.start()
        await server.listen()
        self.servers[name] = server
        return server

    async def restart(self, name: str, **sections: Any) -> FederatedServer:
        """Stop a homeserver and start it again over the same database and port."""
        await self.servers.pop(name).stop()
        return await self.add(name, **sections)

    async def add_fake(self, name: str) -> FakeServer:
        """Start a played server."""
        fake = FakeServer(name)
        await fake.listen()
        self.discovery.places[name] = place(name, fake.port)
        self.fakes.append(fake)
        return fake

    def ports(self) -> dict[str, int]:
        """The ports of all names so far."""
        return {name: one.port for name, one in self.discovery.places.items()}

    async def stop(self) -> None:
        for server in self.servers.values():
            await server.stop()
        for fake in self.fakes:
            await fake.hang_up()

    def _homeserver(self, name: str, sections: dict[str, Any]) -> Homeserver:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        own: dict[str, Any] = {
            "server": {"server_name": name, "data_directory": str(folder)},
            "federation": {**FAST, **sections.pop("federation", {})},
            "outgoing": {"ip_ranges_allowed": ["127.0.0.0/8"]},
            "presence": {"enabled": False},
            "plugins": [],
        }
        settings = settings_for(folder, **{**own, **sections})
        database = SqliteDatabase(folder / "test.db", synchronous="OFF")
        return Homeserver(settings, database=database, discovery=self.discovery)


@asynccontextmanager
async def running_network(folder: Path) -> AsyncIterator[Network]:
    """A network without servers yet; all it gets are stopped at the end."""
    network = Network(folder)
    try:
        yield network
    finally:
        await network.stop()


@dataclass(frozen=True)
class Received:
    """A transaction a played server got."""

    transaction_id: str
    body: dict[str, Any]


class FakeServer:
    """Another server, played: publishes keys, notes the transactions it is sent, asks signed questions.

    `answer` decides what becomes of a transaction; add handlers to `routes` (by method and path) for everything else.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.key = SigningKey("fake", sha256(name.encode()).digest())
        self.keys = OwnKeys(name, self.key)
        self.port = free_port()
        self.received: list[Received] = []
        self.authorizations: list[str] = []
        self.answer: Callable[[Received], web.Response] = lambda _: web.json_response({"pdus": {}})
        self.routes: dict[tuple[str, str], Callable[[web.Request], Any]] = {
            ("GET", "/_matrix/key/v2/server"): self._own_keys
        }
        self.asked: list[str] = []
        self._runner: web.AppRunner | None = None
        self._news = asyncio.Event()

    @property
    def pdus(self) -> list[dict[str, Any]]:
        """All events received, in order."""
        return [pdu for one in self.received for pdu in one.body["pdus"]]

    def edus(self, edu_type: str) -> list[dict[str, Any]]:
        """The contents of all EDUs of a type, in order."""
        return [edu["content"] for one in self.received for edu in one.body["edus"] if edu["edu_type"] == edu_type]

    async def wait_until(self, condition: Callable[[], object], seconds: float = 10) -> None:
        """Wait for what a transaction brings."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def listen(self, tls: ssl.SSLContext | None = None) -> None:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=tls).start()

    async def hang_up(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def ask(
        self, server: FederatedServer, method: str, target: str, content: Any = NO_CONTENT, **changed: Any
    ) -> tuple[int, Any]:
        """A signed request to a server; status and JSON of its answer.

        `changed` spoils it: `destination` is what is signed, `sent_target` and `body` what is sent in place of what
        is signed, `header` the whole Authorization header.
        """
        answer = await self.ask_raw(server, method, target, content, **changed)
        return answer[0], orjson.loads(answer[2])

    async def ask_raw(
        self, server: FederatedServer, method: str, target: str, content: Any = NO_CONTENT, **changed: Any
    ) -> tuple[int, dict[str, str], bytes]:
        """As `ask`; status, headers with names in lower case, and body."""
        header = changed.get("header") or authorization_header(
            method, target, self.name, changed.get("destination", server.name), self.key, content
        )
        body = None if content is NO_CONTENT else orjson.dumps(changed.get("body", content))
        async with aiohttp.ClientSession() as session:
            url = URL(server.url + changed.get("sent_target", target), encoded=True)
            async with session.request(method, url, data=body, headers={"Authorization": header}) as answer:
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return answer.status, headers, await answer.read()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.raw_path}")
        self.authorizations.append(request.headers.get("Authorization", ""))
        prefix = "/_matrix/federation/v1/send/"
        if request.method == "PUT" and request.path.startswith(prefix):
            received = Received(request.path.removeprefix(prefix), orjson.loads(await request.read()))
            answer = self.answer(received)
            self.received.append(received)
            self._news.set()
            return answer
        handler = self.routes.get((request.method, request.path))
        if handler is None:
            return web.json_response({"errcode": "M_UNRECOGNIZED", "error": "unknown"}, status=404)
        response: web.StreamResponse = await handler(request)
        return response

    async def _own_keys(self, request: web.Request) -> web.Response:
        return web.json_response(self.keys.answer(SystemClock().now_ms()))


def place(name: str, port: int) -> Destination:
    """Where a name leads in this network: plain HTTP on loopback."""
    return Destination("127.0.0.1", port, name, name, scheme="http")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def accepting(port: int) -> None:
    """Wait until somebody listens."""
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
            continue
        writer.close()
        await writer.wait_closed()
        return
    raise TimeoutError(f"nobody listens on port {port}")


async def eventually(condition: Callable[[], Any], seconds: float = 10) -> None:
    """Wait until a condition (plain or async) holds."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            await asyncio.sleep(0.02)


async def caught_up(server: FederatedServer) -> bool:
    """Whether a server has sent all it has to send, as far as it can."""
    homeserver = server.homeserver
    await homeserver.followers.caught_up(FOLLOWER)
    running = set(homeserver.background.running)
    return "federation-send" not in running
