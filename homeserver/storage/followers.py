"""How far each follower of the log has read.

A follower that starts for the first time begins where the log stands: history is not news.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, select

from homeserver.storage.database import load_position
from homeserver.storage.tables.log import follower_positions
from homeserver.storage.upsert import insert_or_ignore, insert_or_update

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction

_SELECT = select(follower_positions.c.position).where(follower_positions.c.follower == bindparam("wanted"))
_STORE = insert_or_update(follower_positions, ["follower"], ["position"])
_FORGET = delete(follower_positions).where(follower_positions.c.follower == bindparam("wanted"))
_FIRST = insert_or_ignore(follower_positions, ["follower"])


def find_follower_position(connection: Connection, follower: str) -> int | None:
    return connection.execute(_SELECT, {"wanted": follower}).scalar()


def open_follower(tx: Transaction, follower: str) -> int:
    """The follower's position; that of the log for one that has never read."""
    now = load_position(tx.connection)
    tx.connection.execute(_FIRST, {"follower": follower, "position": now})
    found = find_follower_position(tx.connection, follower)
    return now if found is None else found


def store_follower_position(tx: Transaction, follower: str, position: int) -> None:
    tx.connection.execute(_STORE, {"follower": follower, "position": position})


def forget_follower(tx: Transaction, follower: str) -> None:
    """It follows no more; should it come back, it begins anew."""
    tx.connection.execute(_FORGET, {"wanted": follower})
