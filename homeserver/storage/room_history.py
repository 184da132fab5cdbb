"""What a room once was: the values a piece of its state has had, and when its members came.

Reads the index of state events, never whole states.
"""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, select

from homeserver.storage.events import VISIBLE
from homeserver.storage.tables.events import events
from homeserver.storage.tables.rooms import rooms

_HISTORY = (
    select(events.c.pdu, events.c.position)
    .join(rooms, rooms.c.nid == events.c.room_nid)
    .where(
        rooms.c.room_id == bindparam("room_id"),
        events.c.type == bindparam("event_type"),
        events.c.state_key == bindparam("state_key"),
        VISIBLE,
    )
    .order_by(events.c.position)
)


def load_visibilities(connection: Connection, room_id: str) -> list[dict[str, Any]]:
    """The contents of all history visibility events a room has had."""
    values = {"room_id": room_id, "event_type": "m.room.history_visibility", "state_key": ""}
    return [orjson.loads(pdu)["content"] for pdu, _ in connection.execute(_HISTORY, values)]


def load_joins(connection: Connection, room_id: str, user_id: str) -> list[int]:
    """The positions at which a user came into a room, oldest first; changes of their name are none."""
    values = {"room_id": room_id, "event_type": "m.room.member", "state_key": user_id}
    joins: list[int] = []
    before = None
    for pdu, position in connection.execute(_HISTORY, values):
        membership = orjson.loads(pdu)["content"].get("membership")
        if membership == "join" and before != "join":
            joins.append(position)
        before = membership
    return joins
