"""A user's rooms in order of activity, with what lists of rooms are filtered by: one statement for all of them.

Also the place of the newest event that counts as activity for the people in a room.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, case, select

from homeserver.storage.events import VISIBLE, batched_list
from homeserver.storage.tables.events import events
from homeserver.storage.tables.rooms import memberships, room_summaries, rooms

# "Proper" activity. Spec: MSC4186, `bump_stamp`
BUMPING = frozenset(
    {
        "m.room.create",
        "m.room.message",
        "m.room.encrypted",
        "m.sticker",
        "m.call.invite",
        "m.poll.start",
        "org.matrix.msc3381.poll.start",
        "m.beacon_info",
        "org.matrix.msc3672.beacon_info",
    }
)


class Traits(NamedTuple):
    """What a list may filter a room by, whoever looks at it."""

    room_type: str | None
    is_encrypted: bool


class ListedRoom(NamedTuple):
    """A room of a user. `activity` is the position of the last event that concerned the user."""

    room_id: str
    activity: int
    traits: Traits


_TRAITS = (room_summaries.c.room_type, room_summaries.c.encryption)
_activity = case((memberships.c.membership == "join", rooms.c.latest_position), else_=memberships.c.position)
_OF_USER = (
    select(rooms.c.room_id, _activity, *_TRAITS)
    .join(memberships, memberships.c.room_nid == rooms.c.nid)
    .outerjoin(room_summaries, room_summaries.c.room_nid == rooms.c.nid)
    .where(memberships.c.user_id == bindparam("user"), memberships.c.forgotten.is_(False))
    .order_by(_activity, rooms.c.room_id)
)
_BY_ID = (
    select(rooms.c.room_id, *_TRAITS)
    .outerjoin(room_summaries, room_summaries.c.room_nid == rooms.c.nid)
    .where(rooms.c.room_id.in_(bindparam("room_ids", expanding=True)))
)
_BUMPED = (
    select(events.c.position)
    .join(rooms, rooms.c.nid == events.c.room_nid)
    .where(rooms.c.room_id == bindparam("room_id"), VISIBLE, events.c.type.in_(sorted(BUMPING)), events.c.position > 0)
    .order_by(events.c.position.desc())
    .limit(1)
)


def load_room_list(connection: Connection, user_id: str) -> list[ListedRoom]:
    """All rooms a user has to do with, least active first."""
    return [
        ListedRoom(room_id, activity, Traits(room_type, encryption is not None))
        for room_id, activity, room_type, encryption in connection.execute(_OF_USER, {"user": user_id})
    ]


def load_traits(connection: Connection, room_ids: Collection[str]) -> dict[str, Traits]:
    """The traits of rooms by id."""
    found: dict[str, Traits] = {}
    for some in batched_list(room_ids):
        for room_id, room_type, encryption in connection.execute(_BY_ID, {"room_ids": some}):
            found[room_id] = Traits(room_type, encryption is not None)
    return found


def load_bumps(connection: Connection, room_ids: Collection[str]) -> dict[str, int]:
    """The position of the newest event of proper activity in each room, 0 where there is none."""
    return {room_id: connection.execute(_BUMPED, {"room_id": room_id}).scalar() or 0 for room_id in room_ids}
