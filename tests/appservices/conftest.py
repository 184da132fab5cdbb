"""A bridge, and a server it is registered with by a file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from appservices.bridge import Bridge, Puppeteer, running_bridge
from server_kit import Server, running_server


@pytest.fixture
async def bridge() -> AsyncIterator[Bridge]:
    async with running_bridge() as running:
        yield running


@pytest.fixture
def registration(bridge: Bridge, tmp_path: Path) -> Path:
    """The registration's file; a test may write something else into it before it asks for the server."""
    path = tmp_path / "irc.yaml"
    path.write_bytes(orjson.dumps(bridge.registration()))
    return path


@pytest.fixture
async def server(registration: Path, tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path, application_services=[str(registration)]) as running:
        yield running


@pytest.fixture
def puppeteer(server: Server) -> Puppeteer:
    return Puppeteer(server)
