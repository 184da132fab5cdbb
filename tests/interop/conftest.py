"""A server in a process of its own for clients that others have written, with everything on that they may use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest
from interop.nio_device import Devices
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
