"""The migrations lead to exactly the schema that the tables describe, on both databases."""

from __future__ import annotations

from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from homeserver.storage.database import Database, Transaction
from homeserver.storage.schema import SchemaTooNew
from homeserver.storage.tables import metadata


def _differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"include_name": _is_described})
    return list(compare_metadata(context, metadata))


def _is_described(name: str | None, kind: str, _parents: object) -> bool:
    """Full-text indexes are each database's own."""
    return name is None or not name.startswith(("search_words", "ix_search_entries_terms"))


async def test_a_new_database_has_every_table_column_and_index(database: Database) -> None:
    assert await database.read(_differences) == []


async def test_a_database_of_a_newer_server_is_refused(database: Database) -> None:
    await database.write(_pretend_to_be_newer)
    await database.close()
    with pytest.raises(SchemaTooNew, match="Install the version that last used it"):
        await database.open()


def _pretend_to_be_newer(tx: Transaction) -> None:
    tx.connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
