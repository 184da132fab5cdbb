"""Which of a user's rooms have news since a position, for tokens older than what memory knows.

One statement, whatever the number of rooms without news.
"""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, exists, or_, select

from homeserver.storage.tables.rooms import memberships, receipts, rooms

_CHANGED = (
    select(rooms.c.room_id)
    .join(memberships, memberships.c.room_nid == rooms.c.nid)
    .where(
        memberships.c.user_id == bindparam("user"),
        or_(
            memberships.c.position > bindparam("after"),
            (memberships.c.membership == "join")
            & or_(
                rooms.c.latest_position > bindparam("after"),
                exists().where((receipts.c.room_nid == rooms.c.nid) & (receipts.c.position > bindparam("after"))),
            ),
        ),
    )
)


def load_changed_rooms(connection: Connection, user_id: str, after: int) -> list[str]:
    """The rooms with events, receipts or a change of the user's own membership after a position."""
    return list(connection.execute(_CHANGED, {"user": user_id, "after": after}).scalars())
