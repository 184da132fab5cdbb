"""When servers that could not be reached are to be tried again.

Only servers that fail have a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import bindparam, delete, select

from homeserver.storage.tables.destinations import back_offs
from homeserver.storage.upsert import insert_or_update

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction


class BackOffRow(NamedTuple):
    """A server that fails: since when, how long the pause is, and when it ends."""

    server_name: str
    failing_since_ms: int
    pause_ms: int
    retry_at_ms: int


_SELECT = select(back_offs.c.server_name, back_offs.c.failing_since_ms, back_offs.c.pause_ms, back_offs.c.retry_at_ms)
_STORE = insert_or_update(back_offs, ["server_name"], ["failing_since_ms", "pause_ms", "retry_at_ms"])
_DELETE = delete(back_offs).where(back_offs.c.server_name == bindparam("of_server"))
_DELETE_OLD = delete(back_offs).where(back_offs.c.retry_at_ms < bindparam("before_ms"))


def load_back_offs(connection: Connection) -> list[BackOffRow]:
    """All servers that fail."""
    return [BackOffRow(*row) for row in connection.execute(_SELECT)]


def store_back_off(tx: Transaction, row: BackOffRow) -> None:
    """Note that a server failed."""
    tx.connection.execute(_STORE, row._asdict())


def delete_back_off(tx: Transaction, server_name: str) -> None:
    """A server works again."""
    tx.connection.execute(_DELETE, {"of_server": server_name})


def delete_old_back_offs(tx: Transaction, before_ms: int) -> int:
    """Retention: forget servers that nobody has tried since their pause ended; how many."""
    return tx.connection.execute(_DELETE_OLD, {"before_ms": before_ms}).rowcount
