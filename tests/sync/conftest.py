"""A running server on each database, for tests of sync."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from server_kit import Server, running_server

from homeserver.storage.database import Database
from homeserver.storage.postgres import PostgresDatabase
from homeserver.storage.sqlite import SqliteDatabase


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """One of each kind, not yet open. Not async: the PostgreSQL fixture runs an event loop of its own."""
    if request.param == "sqlite":
        return SqliteDatabase(tmp_path / "test.db", synchronous="OFF")
    return PostgresDatabase(request.getfixturevalue("fresh_postgres_url"))


@pytest.fixture
async def server(tmp_path: Path, database: Database) -> AsyncIterator[Server]:
    async with running_server(tmp_path, database) as running:
        yield running
