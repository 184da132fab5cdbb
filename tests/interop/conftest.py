"""A server in a process of its own for clients that others have written, with everything on that they may use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import aiohttp
import pytest
from interop.nio_device import Devices
from interop.people import Pair, Person, Side
from server_process import ServerProcess

SECTIONS = {
    "presence": {"enabled": True},
    "plugins": [{"name": "media_disk"}, {"name": "media_thumbnails"}],
}
_numbers = count()


@pytest.fixture
def database_url() -> str | None:
    """The embedded database; a test may say otherwise by parametrising it."""
    return None


@pytest.fixture
async def server(tmp_path: Path, database_url: str | None) -> AsyncIterator[ServerProcess]:
    """A server of the test's own."""
    running = ServerProcess(tmp_path, database_url=database_url, sections=SECTIONS)
    try:
        await running.start()
        yield running
    finally:
        running.stop()
    assert "Traceback" not in running.log.read_text()


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server for all tests that do nothing to it: starting one takes longer than most conversations."""
    running = ServerProcess(tmp_path_factory.mktemp("interop"), sections=SECTIONS)
    try:
        asyncio.run(running.start())
        yield running
    finally:
        running.stop()
    assert "Traceback" not in running.log.read_text()


@pytest.fixture
async def devices(server: ServerProcess, tmp_path: Path) -> AsyncIterator[Devices]:
    """Makes devices on the test's own server."""
    made = Devices(server.url, tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def guests(shared_server: ServerProcess, tmp_path: Path) -> AsyncIterator[Devices]:
    """Makes devices on the shared server, under names that no other test has."""
    made = Devices(shared_server.url, tmp_path, suffix=f"-{next(_numbers)}")
    yield made
    await made.close()


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Starling and a real Synapse, for all tests between them."""
    running = Pair.in_folder(tmp_path_factory.mktemp("synapse"))
    try:
        asyncio.run(running.start())
        yield running
    finally:
        running.stop()
    assert "Traceback" not in running.starling.log.read_text()


@pytest.fixture
async def sides(pair: Pair) -> AsyncIterator[dict[str, Side]]:
    """Both servers, by what they are."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        starling = Side(pair.starling_name, pair.starling, session)
        synapse = Side(pair.synapse.name, pair.synapse, session)
        yield {"starling": starling, "synapse": synapse}


@pytest.fixture(params=["starling", "synapse"])
def host(request: pytest.FixtureRequest, sides: dict[str, Side]) -> Side:
    """The server where things begin: each of the two in turn."""
    return sides[request.param]


@pytest.fixture
def guest(host: Side, sides: dict[str, Side]) -> Side:
    """The other one."""
    return next(side for side in sides.values() if side is not host)


@pytest.fixture
async def ann(host: Side) -> Person:
    """Somebody at the server where things begin."""
    return await host.person("ann")


@pytest.fixture
async def ben(guest: Side) -> Person:
    """Somebody at the other server."""
    return await guest.person("ben")


@pytest.fixture(params=["10", "11", "12"])
def version(request: pytest.FixtureRequest) -> str:
    """A room version."""
    return str(request.param)
