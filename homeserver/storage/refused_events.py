"""Events that were received and not accepted, with the reasons: for people who look for a fault."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select

from homeserver.storage.events import STORED_EVENTS, unpack_events
from homeserver.storage.tables.events import events
from homeserver.storage.tables.rooms import rooms

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.events import StoredEvent

_REFUSED = (
    STORED_EVENTS.where(rooms.c.room_id == bindparam("of_room"), events.c.position.is_not(None), events.c.standing != 0)
    .order_by(events.c.position.desc())
    .limit(bindparam("most"))
)
_FIND_ROOM = select(rooms.c.nid).where(rooms.c.room_id == bindparam("of_room"))


def find_refused_events(connection: Connection, room_id: str, most: int) -> Sequence[StoredEvent] | None:
    """The rejected and soft-failed events of a room, newest first; None for a room that is not known."""
    if connection.execute(_FIND_ROOM, {"of_room": room_id}).first() is None:
        return None
    return unpack_events(connection.execute(_REFUSED, {"of_room": room_id, "most": most}))
