"""Receipts: how far each user has read each room and each thread.

A receipt never moves backwards in the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, or_, select

from homeserver.storage.changes import Change
from homeserver.storage.database import Transaction
from homeserver.storage.tables.events import events
from homeserver.storage.tables.rooms import receipts, rooms
from homeserver.storage.upsert import insert_or_update

READ = "m.read"
READ_PRIVATE = "m.read.private"


class Receipt(NamedTuple):
    """One receipt. `thread_id` is "" for none, else "main" or a thread root's event id."""

    room_id: str
    user_id: str
    receipt_type: str
    thread_id: str
    event_id: str
    event_position: int
    received_ms: int
    position: int


_COLUMNS = (
    rooms.c.room_id,
    receipts.c.user_id,
    receipts.c.receipt_type,
    receipts.c.thread_id,
    receipts.c.event_id,
    receipts.c.event_position,
    receipts.c.received_ms,
    receipts.c.position,
)
_ALL = select(*_COLUMNS).join(rooms, rooms.c.nid == receipts.c.room_nid)
_SINCE = _ALL.where(
    rooms.c.room_id.in_(bindparam("room_ids", expanding=True)),
    receipts.c.position > bindparam("after"),
    receipts.c.position <= bindparam("up_to"),
).order_by(receipts.c.position)
_SHOWN = _ALL.where(
    rooms.c.room_id.in_(bindparam("room_ids", expanding=True)),
    or_(receipts.c.event_id.in_(bindparam("event_ids", expanding=True)), receipts.c.user_id == bindparam("user")),
)
_OF_USER = _ALL.where(rooms.c.room_id == bindparam("room_id"), receipts.c.user_id == bindparam("user"))
_ROOMS_SINCE = (
    select(rooms.c.room_id)
    .distinct()
    .join(receipts, receipts.c.room_nid == rooms.c.nid)
    .where(receipts.c.position > bindparam("after"), rooms.c.room_id.in_(bindparam("room_ids", expanding=True)))
)
_ROOM = select(rooms.c.nid).where(rooms.c.room_id == bindparam("room_id"))
_OLD = select(receipts.c.event_position).where(
    receipts.c.room_nid == bindparam("room"),
    receipts.c.user_id == bindparam("user"),
    receipts.c.receipt_type == bindparam("kind"),
    receipts.c.thread_id == bindparam("thread"),
)
_UPSERT = insert_or_update(
    receipts,
    ["room_nid", "user_id", "receipt_type", "thread_id"],
    ["event_id", "event_position", "received_ms", "position"],
)
_LAST_OWN_EVENT = (
    select(events.c.position)
    .join(rooms, rooms.c.nid == events.c.room_nid)
    .where(
        rooms.c.room_id == bindparam("room_id"),
        events.c.sender == bindparam("user"),
        events.c.state_key.is_(None),
        events.c.position > bindparam("after"),
    )
    .order_by(events.c.position.desc())
    .limit(1)
)
_FORGET_USER = delete(receipts).where(receipts.c.user_id == bindparam("user"))


def store_receipt(
    tx: Transaction,
    room_id: str,
    user_id: str,
    receipt_type: str,
    thread_id: str,
    event_id: str,
    event_position: int,
    now_ms: int,
) -> bool:
    """Move a receipt forward; False when it was that far already."""
    room_nid = tx.connection.execute(_ROOM, {"room_id": room_id}).scalar_one()
    key = {"room": room_nid, "user": user_id, "kind": receipt_type, "thread": thread_id}
    old = tx.connection.execute(_OLD, key).scalar()
    if old is not None and old >= event_position:
        return False
    position = tx.next_position()
    values = {
        "room_nid": room_nid,
        "user_id": user_id,
        "receipt_type": receipt_type,
        "thread_id": thread_id,
        "event_id": event_id,
        "event_position": event_position,
        "received_ms": now_ms,
        "position": position,
    }
    tx.connection.execute(_UPSERT, values)
    receipt = Receipt(room_id, user_id, receipt_type, thread_id, event_id, event_position, now_ms, position)
    if receipt_type == READ_PRIVATE:
        tx.announce(Change(position, "receipt", None, (user_id,), receipt))
    else:
        tx.announce(Change(position, "receipt", room_id, (user_id,), receipt))
    return True


def load_receipts(connection: Connection, room_ids: Sequence[str], after: int, up_to: int) -> list[Receipt]:
    """Receipts of these rooms with `after` < position <= `up_to`, oldest first."""
    values = {"room_ids": list(room_ids), "after": after, "up_to": up_to}
    return [Receipt(*row) for row in connection.execute(_SINCE, values)]


def load_shown_receipts(
    connection: Connection, room_ids: Sequence[str], event_ids: Sequence[str], user_id: str
) -> list[Receipt]:
    """What goes with a room seen for the first time: the receipts at the events shown of it, and the user's own."""
    values = {"room_ids": list(room_ids), "event_ids": list(event_ids), "user": user_id}
    return [Receipt(*row) for row in connection.execute(_SHOWN, values)]


def load_receipts_of(connection: Connection, room_id: str, user_id: str) -> list[Receipt]:
    """All receipts of one user in one room."""
    return [Receipt(*row) for row in connection.execute(_OF_USER, {"room_id": room_id, "user": user_id})]


def load_rooms_with_receipts(connection: Connection, room_ids: Sequence[str], after: int) -> list[str]:
    """Those of the rooms in which a receipt has moved since a position."""
    return list(connection.execute(_ROOMS_SINCE, {"room_ids": list(room_ids), "after": after}).scalars())


def find_last_own_event(connection: Connection, room_id: str, user_id: str, after: int) -> int | None:
    """The position of the newest message a user sent to a room after a position."""
    return connection.execute(_LAST_OWN_EVENT, {"room_id": room_id, "user": user_id, "after": after}).scalar()


def forget_receipts_of(tx: Transaction, user_id: str) -> None:
    """Erase a user's receipts."""
    tx.connection.execute(_FORGET_USER, {"user": user_id})
