"""Which events have notified a user, newest first, across rooms: read from the log, never fanned out.

For users with push rules of their own the caller judges anew.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, or_, select

from homeserver.storage.events import STORED_EVENTS, VISIBLE, StoredEvent, unpack_events
from homeserver.storage.tables.events import event_mentions, events
from homeserver.storage.tables.rooms import rooms

_mentioned = (
    select(event_mentions.c.event_nid)
    .where(event_mentions.c.user_id == bindparam("user"), event_mentions.c.event_nid == events.c.nid)
    .exists()
)
_IN_ROOM = (
    STORED_EVENTS.where(
        rooms.c.room_id == bindparam("room_id"),
        events.c.position < bindparam("before"),
        events.c.sender != bindparam("user"),
        events.c.redacted_by_nid.is_(None),
        VISIBLE,
    )
    .order_by(events.c.position.desc())
    .limit(bindparam("limit"))
)
_NOTIFYING = _IN_ROOM.where(or_(events.c.notify > 0, _mentioned))
_HIGHLIGHTED = (
    select(event_mentions.c.event_nid)
    .join(events, events.c.nid == event_mentions.c.event_nid)
    .where(
        event_mentions.c.user_id == bindparam("user"),
        event_mentions.c.highlight > 0,
        events.c.event_id.in_(bindparam("ids", expanding=True)),
    )
    .with_only_columns(events.c.event_id)
)


def load_notifying(
    connection: Connection, user_id: str, room_ids: Sequence[str], before: int, limit: int, *, judge_all: bool
) -> list[StoredEvent]:
    """The newest `limit` events of these rooms that may have notified a user, newest first.

    With `judge_all` also those that notify nobody by the predefined rules.
    """
    statement = _IN_ROOM if judge_all else _NOTIFYING
    found: list[StoredEvent] = []
    for room_id in room_ids:
        values = {"user": user_id, "room_id": room_id, "before": before, "limit": limit}
        found.extend(unpack_events(connection.execute(statement, values)))
    found.sort(key=lambda stored: -(stored.position or 0))
    return found[:limit]


def load_highlighted(connection: Connection, user_id: str, event_ids: Sequence[str]) -> set[str]:
    """Those of the events that single this user out as important."""
    return set(connection.execute(_HIGHLIGHTED, {"user": user_id, "ids": list(event_ids)}).scalars())
