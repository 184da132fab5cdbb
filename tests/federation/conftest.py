"""Fixtures of the federation tests: a network of servers on loopback, stopped at the end of the test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from federation.network import Network, running_network


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    """Servers that find each other by name."""
    async with running_network(tmp_path) as started:
        yield started
