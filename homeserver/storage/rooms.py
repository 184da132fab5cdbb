"""Reads the row of a room, and the aliases that point at rooms.

The row itself is written by the room log alone.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, select, update

from homeserver.storage.database import Transaction
from homeserver.storage.tables.rooms import room_aliases, rooms
from homeserver.storage.upsert import insert_or_ignore


class RoomRow(NamedTuple):
    """What an append compares and sets."""

    room_nid: int
    version: str
    revision: int
    latest_position: int
    state_group: int | None
    forward_extremities: str


class Alias(NamedTuple):
    """A name of a room, and who gave it."""

    alias: str
    room_id: str
    creator: str


_ROOM = select(
    rooms.c.nid,
    rooms.c.version,
    rooms.c.revision,
    rooms.c.latest_position,
    rooms.c.state_group_nid,
    rooms.c.forward_extremities,
).where(rooms.c.room_id == bindparam("room_id"))
_ALIAS = select(room_aliases.c.alias, room_aliases.c.room_id, room_aliases.c.creator)
_ONE_ALIAS = _ALIAS.where(room_aliases.c.alias == bindparam("wanted"))
_ALIASES_OF = _ALIAS.where(room_aliases.c.room_id == bindparam("room_id")).order_by(room_aliases.c.alias)
_ADD_ALIAS = insert_or_ignore(room_aliases, ["alias"])
_MOVE_ALIASES = (
    update(room_aliases)
    .where(room_aliases.c.room_id == bindparam("old_room"))
    .values(room_id=bindparam("new_room"))
    .returning(room_aliases.c.alias)
)
_REMOVE_ALIAS = delete(room_aliases).where(room_aliases.c.alias == bindparam("wanted"))


def find_room(connection: Connection, room_id: str) -> RoomRow | None:
    """The row of a room."""
    row = connection.execute(_ROOM, {"room_id": room_id}).first()
    return RoomRow(*row) if row else None


def find_alias(connection: Connection, alias: str) -> Alias | None:
    """What a local alias points at."""
    row = connection.execute(_ONE_ALIAS, {"wanted": alias}).first()
    return Alias(*row) if row else None


def load_aliases(connection: Connection, room_id: str) -> list[Alias]:
    """The local aliases of a room."""
    return [Alias(*row) for row in connection.execute(_ALIASES_OF, {"room_id": room_id})]


def add_alias(tx: Transaction, alias: str, room_id: str, creator: str, now_ms: int) -> bool:
    """Point an alias at a room; False when it is taken."""
    values = {"alias": alias, "room_id": room_id, "creator": creator, "created_ms": now_ms}
    return tx.connection.execute(_ADD_ALIAS, values).rowcount == 1


def remove_alias(tx: Transaction, alias: str) -> bool:
    """Take an alias away; False when there was none."""
    return tx.connection.execute(_REMOVE_ALIAS, {"wanted": alias}).rowcount == 1


def move_aliases(tx: Transaction, old_room_id: str, new_room_id: str) -> list[str]:
    """Point all aliases of one room at another; the aliases moved."""
    values = {"old_room": old_room_id, "new_room": new_room_id}
    return list(tx.connection.execute(_MOVE_ALIASES, values).scalars())
