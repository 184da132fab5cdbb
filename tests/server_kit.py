"""A whole homeserver in process, and users who talk to it over HTTP: what most tests of behaviour start from.

Nothing is replaced but the network: requests go through the real ASGI application.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from homeserver.app import Homeserver
from homeserver.runtime.clock import Clock
from homeserver.services.accounts.sessions import ClientDetails
from homeserver.storage.database import Database
from homeserver.storage.sqlite import SqliteDatabase
from homeserver.testing import Answer, AsgiClient, path_of
from homeserver_config.settings import Settings

SERVER = "example.org"
V3 = "/_matrix/client/v3"


@dataclass
class User:
    """Somebody with one device. Methods fail the test unless the server agrees."""

    user_id: str
    client: AsgiClient
    device_id: str
    since: str | None = None
    _numbers: list[int] = field(default_factory=lambda: [0])

    async def ask(self, method: str, path: str, body: Any = None, **query: str) -> Answer:
        """The answer, whatever it is. `path` is below /_matrix/client/v3."""
        return await self.client.request(method, V3 + path, json=body, query=query)

    async def call(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        """The JSON of an answer that must be a 200."""
        answer = await self.ask(method, path, body, **query)
        assert answer.status == 200, f"{method} {path}: {answer.status} {answer.body!r}"
        return answer.json

    async def create_room(self, **wanted: Any) -> str:
        made = await self.call("POST", "/createRoom", {"preset": "private_chat", **wanted})
        return str(made["room_id"])

    async def join(self, room_id: str) -> None:
        await self.call("POST", path_of("join", room_id), {})

    async def invite(self, room_id: str, other: User) -> None:
        await self.call("POST", path_of("rooms", room_id, "invite"), {"user_id": other.user_id})

    async def leave(self, room_id: str) -> None:
        await self.call("POST", path_of("rooms", room_id, "leave"), {})

    async def say(self, room_id: str, text: str, **content: Any) -> str:
        return await self.send(room_id, "m.room.message", {"msgtype": "m.text", "body": text, **content})

    async def send(self, room_id: str, event_type: str, content: dict[str, Any]) -> str:
        self._numbers[0] += 1
        path = path_of("rooms", room_id, "send", event_type, f"txn{self._numbers[0]}")
        return str((await self.call("PUT", path, content))["event_id"])

    async def set_state(self, room_id: str, event_type: str, content: dict[str, Any], state_key: str = "") -> str:
        path = path_of("rooms", room_id, "state", event_type, state_key)
        return str((await self.call("PUT", path, content))["event_id"])

    async def redact(self, room_id: str, event_id: str) -> str:
        path = path_of("rooms", room_id, "redact", event_id, secrets.token_hex(4))
        return str((await self.call("PUT", path, {}))["event_id"])

    async def read(self, room_id: str, event_id: str, kind: str = "m.read", **body: Any) -> None:
        await self.call("POST", path_of("rooms", room_id, "receipt", kind, event_id), body)

    async def sync(self, timeout_ms: int = 0, **query: str) -> Any:
        """What is new since the last call."""
        if self.since is not None:
            query["since"] = self.since
        body = await self.call("GET", "/sync", timeout=str(timeout_ms), **query)
        self.since = body["next_batch"]
        return body

    async def messages(self, room_id: str, **query: str) -> Any:
        return await self.call("GET", path_of("rooms", room_id, "messages"), **query)


class Server:
    """A running homeserver."""

    def __init__(self, homeserver: Homeserver) -> None:
        self.homeserver = homeserver
        self.app = homeserver.asgi(homeserver.settings.listeners[0])
        self.client = AsgiClient(self.app)

    async def user(self, name: str, *, device_id: str | None = None, admin: bool = False) -> User:
        """A logged-in user; a further device when there is an account of this name."""
        user_id = f"@{name}:{SERVER}"
        accounts = self.homeserver.accounts
        if await accounts.accounts.find(user_id) is None:
            await accounts.accounts.create(name, admin=admin)
        session = await accounts.sessions.begin(user_id, ClientDetails(device_id=device_id, address="192.0.2.1"))
        credentials = session.credentials
        return User(user_id, self.client.with_token(credentials.access_token), session.device.device_id)

    async def users(self, *names: str) -> list[User]:
        return [await self.user(name) for name in names]


def settings_for(folder: Path, **sections: Any) -> Settings:
    """Settings for a server in a folder of its own, without rate limits."""
    return Settings.model_validate(
        {
            "server": {"server_name": SERVER, "data_directory": str(folder)},
            "registration": {"mode": "open"},
            "rate_limits": {"enabled": False},
            # Its news come when they please, and would end the waiting of tests that wait for something else.
            "presence": {"enabled": False},
            **sections,
        }
    )


@asynccontextmanager
async def running_server(
    folder: Path, database: Database | None = None, *, clock: Clock | None = None, **sections: Any
) -> AsyncIterator[Server]:
    """A server over `database`, by default an SQLite file in `folder`."""
    settings = settings_for(folder, **sections)
    database = database or SqliteDatabase(folder / "test.db", synchronous="OFF")
    server = Homeserver(settings, database=database, clock=clock)
    try:
        await server.start()
        yield Server(server)
    finally:
        await server.stop()


def events_of(sync: Any, room_id: str) -> list[Any]:
    """The timeline of a joined room in a sync."""
    rooms = sync.get("rooms", {}).get("join", {})
    return list(rooms[room_id]["timeline"]["events"]) if room_id in rooms else []


def bodies(events: list[Any]) -> list[Any]:
    """What the messages among some events say."""
    return [event["content"].get("body") for event in events if event["type"] == "m.room.message"]
