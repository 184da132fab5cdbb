"""An open database of each kind, for tests of storage."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from homeserver.storage.database import Database


@pytest.fixture
async def database(closed_database: Database) -> AsyncIterator[Database]:
    await closed_database.open()
    yield closed_database
    await closed_database.close()
