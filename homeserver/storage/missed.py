"""What a stretch of the log was about, for a process that did not hear of it."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, select

from homeserver.storage.tables.rooms import rooms

_CHANGED = select(rooms.c.room_id).where(rooms.c.latest_position > bindparam("after"))


def load_changed_room_ids(connection: Connection, after: int) -> list[str]:
    """The rooms with events after a position."""
    return list(connection.execute(_CHANGED, {"after": after}).scalars())
