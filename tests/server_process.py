"""A homeserver in a process of its own on loopback, and clients that talk to it over real HTTP.

For what cannot be seen in process: crashes, real clients, benchmarks.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

ROOT = Path(__file__).parents[1]
SECRET = "a shared secret"
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class ServerProcess:
    """A homeserver on a free loopback port, with its data in a temporary folder.

    `sections` replace whole sections of the configuration.
    """

    def __init__(
        self,
        folder: Path,
        *,
        asgi: str = "hypercorn",
        database_url: str | None = None,
        sections: Mapping[str, Any] | None = None,
        processes: int = 1,
    ) -> None:
        self.folder = folder
        self.port = free_port()
        settings: dict[str, Any] = {
            "server": {"server_name": "localhost", "data_directory": str(folder / "data"), "asgi": asgi},
            "listeners": [{"bind_address": "127.0.0.1", "port": self.port}],
            "registration": {"mode": "open", "shared_secret": SECRET},
            "rate_limits": {"enabled": False},
            "presence": {"enabled": False},
            "logging": {"level": "warning"},
        }
        if database_url is not None:
            settings["database"] = {"url": database_url}
        settings.update(sections or {})
        self.log = folder / "log"
        self.config = folder / "homeserver.yaml"
        self.config.write_bytes(orjson.dumps(settings))
        self._process: subprocess.Popen[bytes] | None = None
        self._processes = processes

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(
            str(ROOT / part) for part in ("", "config", "federation", "plugins")
        )
        code = "from homeserver.cli import main; main()"
        with self.log.open("ab") as log:
            many = ["--processes", str(self._processes)] if self._processes > 1 else []
            self._process = subprocess.Popen(
                [sys.executable, "-c", code, "run", "-c", str(self.config), *many],
                env=environment,
                stdout=log,
                stderr=log,
            )
        async with aiohttp.ClientSession() as session:
            for _ in range(1_200):
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"{self.url}/health") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.05)
        raise RuntimeError(f"the server did not start: {self.log.read_text()}")

    def kill(self) -> None:
        """End it without any chance to tidy up."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self, seconds: float) -> int:
        """The exit status, once there is one; raises TimeoutExpired."""
        assert self._process is not None
        return await asyncio.to_thread(self._process.wait, seconds)

    def stop(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.kill()

    def cpu_ms(self) -> float:
        """User and system time spent so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * _TICK_S * 1000

    def rss_mb(self) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def database_bytes(self) -> int:
        return sum(path.stat().st_size for path in (self.folder / "data").glob("homeserver.db*"))


@dataclass
class Client:
    """A logged-in user."""

    server: str
    session: aiohttp.ClientSession
    user_id: str
    token: str
    since: str | None = None
    sent: int = field(default=0)

    async def call(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        """One request; raises RuntimeError unless the answer is 200."""
        async with self.session.request(
            method,
            f"{self.server}/_matrix/client/v3{path}",
            data=None if body is None else orjson.dumps(body),
            params=query,
            headers={"Authorization": f"Bearer {self.token}"},
        ) as answer:
            raw = await answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{method} {path}: {answer.status} {raw[:300]!r}")
            return orjson.loads(raw)

    async def send(self, room_id: str, text: str = "a message of usual length, as people write them") -> str:
        self.sent += 1
        path = f"/rooms/{room_id}/send/m.room.message/{self.user_id}{self.sent}"
        answer = await self.call("PUT", path, {"msgtype": "m.text", "body": text})
        return str(answer["event_id"])

    async def sync(self, timeout_ms: int = 0, **query: str) -> Any:
        if self.since is not None:
            query["since"] = self.since
        body = await self.call("GET", "/sync", timeout=str(timeout_ms), **query)
        self.since = body["next_batch"]
        return body


async def make_client(server: str, session: aiohttp.ClientSession, name: str) -> Client:
    """Register a user with the shared secret."""
    url = f"{server}/_synapse/admin/v1/register"
    async with session.get(url) as answer:
        nonce = (await answer.json())["nonce"]
    text = f"{nonce}\0{name}\0a password\0notadmin"
    mac = hmac.new(SECRET.encode(), text.encode(), hashlib.sha1).hexdigest()
    body = {"nonce": nonce, "username": name, "password": "a password", "admin": False, "mac": mac}
    async with session.post(url, json=body) as answer:
        made = await answer.json()
    return Client(server, session, made["user_id"], made["access_token"])


async def make_clients(server: str, session: aiohttp.ClientSession, prefix: str, count: int) -> list[Client]:
    """Register several users, a few at a time."""
    clients: list[Client] = []
    for start in range(0, count, 20):
        names = [f"{prefix}{number}" for number in range(start, min(start + 20, count))]
        clients += await asyncio.gather(*(make_client(server, session, name) for name in names))
    return clients


@contextlib.asynccontextmanager
async def running_server(**options: Any) -> AsyncIterator[tuple[ServerProcess, aiohttp.ClientSession]]:
    """A server and a session to call it with; both are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="starling-") as folder:
        server = ServerProcess(Path(folder), **options)
        try:
            await server.start()
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=120)
            timeout = aiohttp.ClientTimeout(total=600)
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
                yield server, session
        finally:
            server.stop()


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
