"""Sync filters that clients stored, addressed by their content: the same filter has the same ID.

Each remembers when it was last used, so that forgotten ones can go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, func, select, update

from homeserver.storage.tables.user_data import filters
from homeserver.storage.upsert import insert_or_update

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction

_OF_USER = filters.c.user_id == bindparam("of_user")
_ONE = filters.c.filter_id == bindparam("wanted")
_SELECT = select(filters.c.definition, filters.c.used_ms).where(_OF_USER, _ONE)
_COUNT = select(func.count()).select_from(filters).where(_OF_USER)
_OLDEST = select(filters.c.filter_id).where(_OF_USER).order_by(filters.c.used_ms).limit(1)
_STORE = insert_or_update(filters, ["user_id", "filter_id"], ["used_ms"])
_USED = update(filters).where(_OF_USER, _ONE).values(used_ms=bindparam("now"))
_DELETE = delete(filters).where(_OF_USER, _ONE)
_DELETE_OF_USER = delete(filters).where(_OF_USER)
_DELETE_UNUSED = delete(filters).where(filters.c.used_ms < bindparam("before_ms"))


def find_filter(connection: Connection, user_id: str, filter_id: str) -> tuple[bytes, int] | None:
    """(definition, when it was last used) of a stored filter."""
    row = connection.execute(_SELECT, {"of_user": user_id, "wanted": filter_id}).first()
    return None if row is None else (bytes(row[0]), int(row[1]))


def store_filter(tx: Transaction, user_id: str, filter_id: str, definition: bytes, now_ms: int, most: int) -> None:
    """Store a filter; a user who has more than `most` loses the one not used for longest."""
    row = {"user_id": user_id, "filter_id": filter_id, "definition": definition, "used_ms": now_ms}
    tx.connection.execute(_STORE, row)
    if int(tx.connection.execute(_COUNT, {"of_user": user_id}).scalar_one()) > most:
        oldest = tx.connection.execute(_OLDEST, {"of_user": user_id}).scalar_one()
        tx.connection.execute(_DELETE, {"of_user": user_id, "wanted": oldest})


def mark_used(tx: Transaction, user_id: str, filter_id: str, now_ms: int) -> None:
    tx.connection.execute(_USED, {"of_user": user_id, "wanted": filter_id, "now": now_ms})


def delete_for_user(tx: Transaction, user_id: str) -> None:
    tx.connection.execute(_DELETE_OF_USER, {"of_user": user_id})


def delete_unused(tx: Transaction, before_ms: int) -> int:
    """Retention: forget filters not used since `before_ms`; how many."""
    return tx.connection.execute(_DELETE_UNUSED, {"before_ms": before_ms}).rowcount
