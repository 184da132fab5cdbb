"""The account services with their endpoints, for the tests of each endpoint."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from accounts_app import AccountsApp, running_app


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[AccountsApp]:
    async with running_app(tmp_path) as running:
        yield running
