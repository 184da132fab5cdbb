"""Where the bytes of a database are: by table with its indexes, by room, and media by user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, func, select, text
from sqlalchemy.exc import OperationalError

from homeserver.storage.tables import metadata
from homeserver.storage.tables.events import events
from homeserver.storage.tables.media import media
from homeserver.storage.tables.rooms import room_summaries, rooms


class TableSize(NamedTuple):
    """`size` counts bytes with the indexes; None where the database cannot say."""

    name: str
    rows: int
    size: int | None


class RoomSize(NamedTuple):
    """`size` counts the bytes of the events themselves."""

    room_id: str
    name: str | None
    members: int
    events: int
    size: int


class UserSize(NamedTuple):
    """What a user has uploaded."""

    user_id: str
    files: int
    size: int


_POSTGRES_SIZE = text("SELECT pg_total_relation_size(CAST(:name AS regclass))")
_SQLITE_SIZES = text(
    "SELECT coalesce(named.tbl_name, dbstat.name), sum(dbstat.pgsize) FROM dbstat"
    " LEFT JOIN sqlite_master AS named ON named.name = dbstat.name GROUP BY 1"
)
_BY_ROOM = (
    select(
        rooms.c.room_id,
        room_summaries.c.name,
        room_summaries.c.joined_members,
        func.count(events.c.nid),
        func.sum(func.length(events.c.pdu)),
    )
    .join(events, events.c.room_nid == rooms.c.nid)
    .join(room_summaries, room_summaries.c.room_nid == rooms.c.nid)
    .group_by(rooms.c.room_id, room_summaries.c.name, room_summaries.c.joined_members)
    .order_by(func.sum(func.length(events.c.pdu)).desc())
    .limit(bindparam("most"))
)
_BY_USER = (
    select(media.c.user_id, func.count(), func.sum(media.c.size))
    .where(media.c.user_id.is_not(None), media.c.size.is_not(None))
    .group_by(media.c.user_id)
    .order_by(func.sum(media.c.size).desc())
    .limit(bindparam("most"))
)


def load_table_sizes(connection: Connection) -> list[TableSize]:
    """All tables, the largest first."""
    sizes = _sizes(connection)
    found = [
        TableSize(name, connection.execute(select(func.count()).select_from(table)).scalar_one(), sizes.get(name))
        for name, table in metadata.tables.items()
    ]
    return sorted(found, key=lambda one: (one.size or 0, one.rows), reverse=True)


def load_room_sizes(connection: Connection, most: int) -> list[RoomSize]:
    """The rooms with the most bytes of events."""
    rows = connection.execute(_BY_ROOM, {"most": most})
    return [RoomSize(room_id, name, members, count, int(size)) for room_id, name, members, count, size in rows]


def load_user_sizes(connection: Connection, most: int) -> list[UserSize]:
    """The users with the most bytes of media."""
    return [
        UserSize(user_id, files, int(size)) for user_id, files, size in connection.execute(_BY_USER, {"most": most})
    ]


def _sizes(connection: Connection) -> dict[str, int]:
    if connection.dialect.name == "postgresql":
        names: Sequence[str] = list(metadata.tables)
        return {name: int(connection.execute(_POSTGRES_SIZE, {"name": name}).scalar_one()) for name in names}
    try:
        return {name: int(size) for name, size in connection.execute(_SQLITE_SIZES)}
    except OperationalError:
        return {}  # this SQLite was built without its statistics
