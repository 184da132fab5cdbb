"""A server in a process of its own for clients that others have written, with everything on that they may use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from interop.nio_device import Devices
from server_process import ServerProcess

SECTIONS = {"presence": {"enabled": True}}


@pytest.fixture
def database_url() -> str | None:
    """The embedded database; a test may say otherwise by parametrising it."""
    return None


@pytest.fixture
async def server(tmp_path: Path, database_url: str | None) -> AsyncIterator[ServerProcess]:
    running = ServerProcess(tmp_path, database_url=database_url, sections=SECTIONS)
    try:
        await running.start()
        yield running
    finally:
        running.stop()
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.fixture
async def devices(server: ServerProcess, tmp_path: Path) -> AsyncIterator[Devices]:
    made = Devices(server.url, tmp_path)
    yield made
    await made.close()
