"""People on two servers that know each other only over federation: Starling and a real Synapse.

What a person's syncs bring is kept, so that a test can wait for anything it may show.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import aiohttp
import orjson
from federation.certificates import Authority
from interop.synapse import SynapseProcess
from server_process import SECRET, Client, ServerProcess, free_port, make_client

_PATIENCE_S = 15
_FILTER = '{"room": {"timeline": {"limit": 100}}}'
_numbers = count(1)


class RunningServer(Protocol):
    @property
    def url(self) -> str: ...


@dataclass
class Person:
    """A user with one device."""

    client: Client
    server_name: str
    timelines: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    ephemeral: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    rooms: dict[str, str] = field(default_factory=dict)
    """The person's membership of each room."""
    to_device: list[Any] = field(default_factory=list)
    presence: list[Any] = field(default_factory=list)
    changed_devices: set[str] = field(default_factory=set)

    @property
    def user_id(self) -> str:
        return self.client.user_id

    async def ask(self, method: str, path: str, body: Any = None, **query: str) -> tuple[int, Any]:
        """Status and JSON of an answer; `path` is below /_matrix/client, and /v3 unless it names a version."""
        prefix = "" if path.startswith(("/v1/", "/unstable/")) else "/v3"
        async with self.client.session.request(
            method,
            f"{self.client.server}/_matrix/client{prefix}{path}",
            json=body,
            params=query,
            headers={"Authorization": f"Bearer {self.client.token}"},
        ) as answer:
            raw = await answer.read()
            return answer.status, orjson.loads(raw) if raw else None

    async def call(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        """The JSON of an answer that must be a 200."""
        status, answer = await self.ask(method, path, body, **query)
        assert status == 200, f"{self.user_id}: {method} {path}: {status} {answer}"
        return answer

    async def create_room(self, version: str, preset: str = "public_chat", **wanted: Any) -> str:
        body = {"preset": preset, "room_version": version, **wanted}
        return str((await self.call("POST", "/createRoom", body))["room_id"])

    async def join(self, room: str, via: Person | None = None) -> str:
        query = {} if via is None else {"server_name": via.server_name, "via": via.server_name}
        return str((await self.call("POST", f"/join/{esc(room)}", {}, **query))["room_id"])

    async def act(self, room_id: str, action: str, other: Person | None = None) -> None:
        body = {} if other is None else {"user_id": other.user_id}
        await self.call("POST", f"/rooms/{esc(room_id)}/{action}", body)

    async def say(self, room_id: str, text: str) -> str:
        return await self.send(room_id, "m.room.message", {"msgtype": "m.text", "body": text})

    async def send(self, room_id: str, event_type: str, content: Any) -> str:
        path = f"/rooms/{esc(room_id)}/send/{event_type}/{next(_numbers)}"
        return str((await self.call("PUT", path, content))["event_id"])

    async def set_state(self, room_id: str, event_type: str, content: Any, key: str = "") -> str:
        path = f"/rooms/{esc(room_id)}/state/{event_type}/{esc(key)}"
        return str((await self.call("PUT", path, content))["event_id"])

    async def state(self, room_id: str, event_type: str, key: str = "") -> Any:
        """The content of a state event, or None."""
        status, content = await self.ask("GET", f"/rooms/{esc(room_id)}/state/{event_type}/{esc(key)}")
        return content if status == 200 else None

    async def sync(self, timeout_ms: int = 0) -> None:
        """Note everything new."""
        news = await self.client.sync(timeout_ms, filter=_FILTER)
        for membership, rooms in news.get("rooms", {}).items():
            for room_id, room in rooms.items():
                self.rooms[room_id] = membership
                self.timelines[room_id] += room.get("timeline", {}).get("events", [])
                self.ephemeral[room_id] += room.get("ephemeral", {}).get("events", [])
        self.to_device += news.get("to_device", {}).get("events", [])
        self.presence += news.get("presence", {}).get("events", [])
        self.changed_devices |= set(news.get("device_lists", {}).get("changed", []))

    async def until(self, what: Callable[[], Any]) -> Any:
        """Sync until something is found; its value."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while not (found := what()):
                    await self.sync(500)
                return found
        except TimeoutError:
            seen = {room: [_brief(event) for event in events] for room, events in self.timelines.items()}
            raise AssertionError(f"{self.user_id} waits in vain; rooms {self.rooms}, {seen}") from None

    async def sees(self, room_id: str, event_id: str) -> Any:
        """An event, once it has come."""
        return await self.until(lambda: self.find(room_id, event_id))

    def find(self, room_id: str, event_id: str) -> Any:
        return next((event for event in self.timelines[room_id] if event.get("event_id") == event_id), None)

    async def is_in(self, room_id: str, membership: str) -> None:
        """Wait for a membership of one's own: join, invite, knock, leave."""
        await self.until(lambda: self.rooms.get(room_id) == membership)

    async def sees_state(self, room_id: str, event_type: str, key: str, **expected: Any) -> None:
        """Wait until a state event says something."""
        await eventually(self._state_says, room_id, event_type, key, expected)

    async def _state_says(self, room_id: str, event_type: str, key: str, expected: dict[str, Any]) -> bool:
        content = await self.state(room_id, event_type, key) or {}
        return expected.items() <= content.items()

    async def sees_membership(self, room_id: str, other: Person, membership: str) -> None:
        await self.sees_state(room_id, "m.room.member", other.user_id, membership=membership)


@dataclass
class Side:
    """One of the two servers."""

    name: str
    process: RunningServer
    session: aiohttp.ClientSession

    @property
    def is_synapse(self) -> bool:
        return isinstance(self.process, SynapseProcess)

    async def person(self, name: str) -> Person:
        """Somebody new."""
        client = await make_client(self.process.url, self.session, f"{name}{next(_numbers)}")
        return Person(client, self.name)


@dataclass
class Pair:
    """Starling and Synapse, running next to each other."""

    starling: ServerProcess
    starling_name: str
    synapse: SynapseProcess

    @classmethod
    def in_folder(cls, folder: Path) -> Pair:
        for part in ("starling", "synapse"):
            (folder / part).mkdir()
        authority = Authority(folder)
        # A host name and an address: access lists know servers by their host, without the port.
        for host in ("localhost", "127.0.0.1"):
            authority.context_for(host)
        certificate = folder / "127.0.0.1.pem"
        synapse = SynapseProcess(folder / "synapse", folder / "localhost.pem", authority.path)
        port, client_port = free_port(), free_port()
        sections = {
            "server": {"server_name": f"127.0.0.1:{port}", "data_directory": str(folder / "starling" / "data")},
            "listeners": [
                {"bind_address": "127.0.0.1", "port": client_port, "resources": ["client", "admin"]},
                {
                    "bind_address": "127.0.0.1",
                    "port": port,
                    "tls_certificate": str(certificate),
                    "tls_key": str(certificate),
                    "resources": ["federation"],
                },
            ],
            "federation": {
                "ca_certificates": [str(authority.path)],
                "trusted_key_servers": [],
                "retry_at_first": "100ms",
                "retry_at_most": "1s",
            },
            "outgoing": {"ip_ranges_allowed": ["127.0.0.0/8"]},
            "presence": {"enabled": True},
            "registration": {"mode": "open", "shared_secret": SECRET},
            "rooms": {"public_directory_over_federation": True},
            "logging": {"level": "info"},
            "plugins": [{"name": "media_disk"}, {"name": "media_thumbnails"}],
        }
        starling = ServerProcess(folder / "starling", sections=sections)
        starling.port = client_port
        return cls(starling, f"127.0.0.1:{port}", synapse)

    async def start(self) -> None:
        await asyncio.gather(self.starling.start(), self.synapse.start())

    def stop(self) -> None:
        self.starling.stop()
        self.synapse.stop()


async def eventually(condition: Callable[..., Any], *arguments: Any) -> None:
    """Wait until an async condition holds."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            while not await condition(*arguments):
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"{condition.__name__}{arguments} does not come true") from None


def esc(text: str) -> str:
    return quote(text, safe="")


def _brief(event: Any) -> str:
    return f"{event['type']} {event.get('state_key', '')} {event.get('content', {}).get('body', '')}"
