"""Account data, global and per room: small JSON objects a user keeps for all of their devices.

Each row carries the position of its last change; deleted entries stay as empty ones, so that /sync can tell.

Spec: client-server-api #client-config
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, bindparam, delete, or_, select

from homeserver.storage.changes import Change
from homeserver.storage.events import batched_list
from homeserver.storage.tables.user_data import account_data, room_account_data
from homeserver.storage.upsert import insert_or_update

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction

_AFTER = bindparam("after", type_=BigInteger)
_SELECT_GLOBAL = (
    select(account_data.c.type, account_data.c.content)
    .where(account_data.c.user_id == bindparam("of_user"), account_data.c.position > _AFTER)
    .where(or_(_AFTER > 0, ~account_data.c.deleted))
    .order_by(account_data.c.position)
)
_SELECT_ROOM = (
    select(room_account_data.c.room_id, room_account_data.c.type, room_account_data.c.content)
    .where(room_account_data.c.user_id == bindparam("of_user"), room_account_data.c.position > _AFTER)
    .where(or_(_AFTER > 0, ~room_account_data.c.deleted))
    .order_by(room_account_data.c.position)
)
_SELECT_ONE_ROOM = (
    select(room_account_data.c.type, room_account_data.c.content)
    .where(
        room_account_data.c.user_id == bindparam("of_user"),
        room_account_data.c.room_id == bindparam("in_room"),
        ~room_account_data.c.deleted,
    )
    .order_by(room_account_data.c.position)
)
_SELECT_ROOMS = select(room_account_data.c.room_id, room_account_data.c.type, room_account_data.c.content).where(
    room_account_data.c.user_id == bindparam("of_user"),
    room_account_data.c.room_id.in_(bindparam("in_rooms", expanding=True)),
    ~room_account_data.c.deleted,
)
_SELECT_TYPE = select(room_account_data.c.room_id, room_account_data.c.content).where(
    room_account_data.c.user_id == bindparam("of_user"),
    room_account_data.c.type == bindparam("of_type"),
    ~room_account_data.c.deleted,
)
_FIND_GLOBAL = select(account_data.c.content).where(
    account_data.c.user_id == bindparam("of_user"),
    account_data.c.type == bindparam("of_type"),
    ~account_data.c.deleted,
)
_FIND_ROOM = select(room_account_data.c.content).where(
    room_account_data.c.user_id == bindparam("of_user"),
    room_account_data.c.room_id == bindparam("in_room"),
    room_account_data.c.type == bindparam("of_type"),
    ~room_account_data.c.deleted,
)
_STORE_GLOBAL = insert_or_update(account_data, ["user_id", "type"], ["content", "deleted", "position"])
_STORE_ROOM = insert_or_update(room_account_data, ["user_id", "room_id", "type"], ["content", "deleted", "position"])
_DELETE_USER = tuple(
    delete(table).where(table.c.user_id == bindparam("of_user")) for table in (account_data, room_account_data)
)
_DELETE_ROOM = delete(room_account_data).where(room_account_data.c.room_id == bindparam("in_room"))
_DELETE_OLD = tuple(
    delete(table).where(table.c.deleted, table.c.position < bindparam("before"))
    for table in (account_data, room_account_data)
)


def load_global(connection: Connection, user_id: str, after: int) -> list[tuple[str, bytes]]:
    """(type, content) changed after position `after`; with 0 everything there is, otherwise deletions as `{}` too."""
    rows = connection.execute(_SELECT_GLOBAL, {"of_user": user_id, "after": after})
    return [(kind, content) for kind, content in rows]


def load_room(connection: Connection, user_id: str, after: int) -> list[tuple[str, str, bytes]]:
    """(room ID, type, content) changed after position `after`, in all rooms; deletions as in `load_global`."""
    rows = connection.execute(_SELECT_ROOM, {"of_user": user_id, "after": after})
    return [(room_id, kind, content) for room_id, kind, content in rows]


def load_of_room(connection: Connection, user_id: str, room_id: str) -> list[tuple[str, bytes]]:
    """(type, content) of everything a user keeps about one room."""
    rows = connection.execute(_SELECT_ONE_ROOM, {"of_user": user_id, "in_room": room_id})
    return [(kind, content) for kind, content in rows]


def load_of_rooms(connection: Connection, user_id: str, room_ids: Sequence[str]) -> list[tuple[str, str, bytes]]:
    """(room ID, type, content) of everything a user keeps about some rooms."""
    found: list[tuple[str, str, bytes]] = []
    for some in batched_list(room_ids):
        rows = connection.execute(_SELECT_ROOMS, {"of_user": user_id, "in_rooms": some})
        found.extend((room_id, kind, content) for room_id, kind, content in rows)
    return found


def load_of_type(connection: Connection, user_id: str, kind: str) -> list[tuple[str, bytes]]:
    """(room ID, content) of one type of account data in all rooms."""
    rows = connection.execute(_SELECT_TYPE, {"of_user": user_id, "of_type": kind})
    return [(room_id, content) for room_id, content in rows]


def find_global(connection: Connection, user_id: str, kind: str) -> bytes | None:
    content = connection.execute(_FIND_GLOBAL, {"of_user": user_id, "of_type": kind}).scalar()
    return None if content is None else bytes(content)


def find_in_room(connection: Connection, user_id: str, room_id: str, kind: str) -> bytes | None:
    content = connection.execute(_FIND_ROOM, {"of_user": user_id, "in_room": room_id, "of_type": kind}).scalar()
    return None if content is None else bytes(content)


def store_global(tx: Transaction, user_id: str, kind: str, content: bytes, *, deleted: bool = False) -> int:
    """Store global account data; the position of the change."""
    position = tx.next_position()
    row = {"user_id": user_id, "type": kind, "content": content, "deleted": deleted, "position": position}
    tx.connection.execute(_STORE_GLOBAL, row)
    tx.announce(Change(position, "account_data", user_ids=(user_id,), detail=(None, kind, content)))
    return position


def store_in_room(
    tx: Transaction, user_id: str, room_id: str, kind: str, content: bytes, *, deleted: bool = False
) -> int:
    """Store account data about a room; the position of the change. Only its owner is told."""
    position = tx.next_position()
    row = {
        "user_id": user_id,
        "room_id": room_id,
        "type": kind,
        "content": content,
        "deleted": deleted,
        "position": position,
    }
    tx.connection.execute(_STORE_ROOM, row)
    tx.announce(Change(position, "account_data", user_ids=(user_id,), detail=(room_id, kind, content)))
    return position


def delete_for_user(tx: Transaction, user_id: str) -> None:
    for statement in _DELETE_USER:
        tx.connection.execute(statement, {"of_user": user_id})


def delete_for_room(tx: Transaction, room_id: str) -> None:
    """The room is purged from this server."""
    tx.connection.execute(_DELETE_ROOM, {"in_room": room_id})


def delete_tombstones(tx: Transaction, before_position: int) -> int:
    """Retention: forget deletions older than a position no client syncs from any more."""
    return sum(tx.connection.execute(statement, {"before": before_position}).rowcount for statement in _DELETE_OLD)
