"""A database of each kind, for tests of storage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from homeserver.storage.database import Database
from homeserver.storage.postgres import PostgresDatabase
from homeserver.storage.sqlite import SqliteDatabase


@pytest.fixture(params=["sqlite", "postgres"])
def closed_database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """One of each kind. Not async: the PostgreSQL fixture runs an event loop of its own."""
    if request.param == "sqlite":
        return SqliteDatabase(tmp_path / "test.db", synchronous="OFF")
    return PostgresDatabase(request.getfixturevalue("fresh_postgres_url"))


@pytest.fixture
async def database(closed_database: Database) -> AsyncIterator[Database]:
    await closed_database.open()
    yield closed_database
    await closed_database.close()
