"""INSERT ... ON CONFLICT in the form that SQLite and PostgreSQL share.

SQLAlchemy keeps one class per database for the same grammar; PostgreSQL's compiles to the right text on both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.dialects.postgresql import insert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Table
    from sqlalchemy.dialects.postgresql import Insert


def insert_or_update(table: Table, keys: Sequence[str], values: Sequence[str]) -> Insert:
    """Insert a row, or set the columns `values` of the row that has the same `keys`."""
    statement = insert(table)
    return statement.on_conflict_do_update(
        index_elements=list(keys), set_={name: statement.excluded[name] for name in values}
    )


def insert_or_ignore(table: Table, keys: Sequence[str]) -> Insert:
    """Insert a row unless one with the same `keys` is there."""
    return insert(table).on_conflict_do_nothing(index_elements=list(keys))
