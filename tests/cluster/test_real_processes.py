"""`homeserver run --processes 2` over Redis: killed, replaced, without Redis; nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from server_process import Client, ServerProcess, make_clients
from servers import find_redis, free_port


@asynccontextmanager
async def running(folder: Path, database_url: str, redis_url: str) -> AsyncIterator[tuple[ServerProcess, list[Client]]]:
    """Two processes and two users, each of whose requests takes a connection of its own, to whichever process."""
    server = ServerProcess(
        folder,
        database_url=database_url.replace("+asyncpg", ""),
        sections={"cluster": {"redis_url": redis_url}},
        processes=2,
    )
    await server.start()
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
            yield server, await make_clients(server.url, session, "many", 2)
    finally:
        server.stop()


def members(server: ServerProcess) -> list[int]:
    """The processes that serve."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return [int(child) for child in children]


async def send_persistently(user: Client, room_id: str, text: str) -> str:
    """Send until it is acknowledged, always with the same transaction ID."""
    for _ in range(100):
        try:
            return await user.send(room_id, text)
        except (aiohttp.ClientError, RuntimeError, OSError):
            user.sent -= 1
            await asyncio.sleep(0.1)
    raise AssertionError("never acknowledged")


async def all_messages(user: Client, room_id: str) -> list[str]:
    texts: list[str] = []
    start = ""
    while True:
        page = await user.call(
            "GET", f"/rooms/{room_id}/messages", dir="b", limit="100", **({"from": start} if start else {})
        )
        texts += [event["content"]["body"] for event in page["chunk"] if event["type"] == "m.room.message"]
        if "end" not in page:
            return texts[::-1]
        start = page["end"]


@pytest.mark.parametrize("blow", ["kill", "replace"])
async def test_chat_goes_on_while_processes_come_and_go(
    tmp_path: Path, fresh_postgres_url: str, redis_url: str, blow: str
) -> None:
    async with running(tmp_path, fresh_postgres_url, redis_url) as (server, (alice, bob)):
        room_id = (await alice.call("POST", "/createRoom", {"preset": "public_chat"}))["room_id"]
        await bob.call("POST", f"/join/{room_id}", {})
        before = members(server)
        assert len(before) == 2

        async def talk(user: Client) -> list[str]:
            said = [f"{user.user_id} {number}" for number in range(40)]
            for text in said:
                await send_persistently(user, room_id, text)
            return said

        talking = [asyncio.create_task(talk(user)) for user in (alice, bob)]
        await asyncio.sleep(0.5)
        if blow == "kill":
            os.kill(before[0], signal.SIGKILL)
        else:
            server.signal(signal.SIGHUP)
        said = [text for texts in await asyncio.gather(*talking) for text in texts]
        async with asyncio.timeout(60):
            while len(members(server)) != 2 or set(members(server)) == set(before):
                await asyncio.sleep(0.2)
        heard = await all_messages(alice, room_id)
        assert sorted(heard) == sorted(said)
        for user in (alice, bob):
            own = [text for text in heard if text.startswith(user.user_id)]
            assert own == [text for text in said if text.startswith(user.user_id)]


async def test_redis_goes_and_comes_back(tmp_path: Path, fresh_postgres_url: str) -> None:
    redis = PrivateRedis(tmp_path)
    await redis.start()
    try:
        async with running(tmp_path, fresh_postgres_url, redis.url) as (_, (alice, bob)):
            room_id = (await alice.call("POST", "/createRoom", {"preset": "public_chat"}))["room_id"]
            await bob.call("POST", f"/join/{room_id}", {})
            said: list[str] = []
            for phase in ("with", "without", "again with"):
                if phase == "without":
                    redis.stop()
                elif phase == "again with":
                    await redis.start()
                for number in range(8):
                    for user in (alice, bob):
                        said.append(f"{user.user_id} {phase} {number}")
                        await send_persistently(user, room_id, said[-1])
            assert await all_messages(bob, room_id) == said
    finally:
        redis.stop()


class PrivateRedis:
    """A Redis of a test's own, to be stopped and started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    async def start(self) -> None:
        options = ["--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        self._process = subprocess.Popen([find_redis(), *options], stdout=subprocess.DEVNULL)
        for _ in range(100):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
        raise RuntimeError("Redis did not start")

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
