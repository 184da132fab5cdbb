"""Counts what a user has not read, from the log itself.

An event carries the outcome of the predefined push rules; a sparse table holds the members it singles out.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select

from homeserver.storage.events import VISIBLE
from homeserver.storage.receipts import READ, READ_PRIVATE, find_last_own_event, load_receipts_of
from homeserver.storage.room_history import load_joins
from homeserver.storage.tables.events import event_mentions, events
from homeserver.storage.tables.rooms import rooms

MAIN = "main"
_MOST_COUNTED = 2_000


class ReadUpTo(NamedTuple):
    """How far a user has read: the room as a whole, and single threads further than that ("main" among them)."""

    room: int
    threads: dict[str, int]

    def covers(self, position: int, thread: str) -> bool:
        """Whether an event at `position` in `thread` counts as read."""
        return position <= max(self.room, self.threads.get(thread, -1))


class UnreadEvent(NamedTuple):
    """An event that counts as unread for a user. `thread` is "main" or a thread root's event id."""

    position: int
    thread: str
    notify: bool
    highlight: bool


_NOTIFYING = (
    select(events.c.position, events.c.thread_root, events.c.notify)
    .join(rooms, rooms.c.nid == events.c.room_nid)
    .where(
        rooms.c.room_id == bindparam("room_id"),
        events.c.position > bindparam("after"),
        events.c.position <= bindparam("up_to"),
        events.c.notify > 0,
        events.c.sender != bindparam("user"),
        VISIBLE,
    )
    .order_by(events.c.position.desc())
    .limit(_MOST_COUNTED)
)
_MENTIONING = (
    select(event_mentions.c.position, event_mentions.c.thread_root, event_mentions.c.notify, event_mentions.c.highlight)
    .join(rooms, rooms.c.nid == event_mentions.c.room_nid)
    .where(
        event_mentions.c.user_id == bindparam("user"),
        rooms.c.room_id == bindparam("room_id"),
        event_mentions.c.position > bindparam("after"),
        event_mentions.c.position <= bindparam("up_to"),
    )
    .limit(_MOST_COUNTED)
)


def load_read_up_to(connection: Connection, room_id: str, user_id: str) -> ReadUpTo:
    """How far a user has read a room. What was sent before they came counts as read, and before their last message."""
    room = 0
    threads: dict[str, int] = {}
    for receipt in load_receipts_of(connection, room_id, user_id):
        if receipt.receipt_type not in {READ, READ_PRIVATE}:
            continue
        if receipt.thread_id:
            threads[receipt.thread_id] = max(threads.get(receipt.thread_id, -1), receipt.event_position)
        else:
            room = max(room, receipt.event_position)
    if not room:
        room = max(load_joins(connection, room_id, user_id), default=0)
    own = find_last_own_event(connection, room_id, user_id, room)
    return ReadUpTo(max(room, own or 0), threads)


def load_unread(
    connection: Connection, room_id: str, user_id: str, read: ReadUpTo, after: int, up_to: int
) -> list[UnreadEvent]:
    """Events with `after` < position <= `up_to` that count as unread under the predefined push rules."""
    values = {"room_id": room_id, "user": user_id, "after": max(after, read.room), "up_to": up_to}
    found = [
        UnreadEvent(position, root or MAIN, notify=True, highlight=notify > 1)
        for position, root, notify in connection.execute(_NOTIFYING, values)
    ]
    found.extend(
        UnreadEvent(position, root or MAIN, notify=bool(notify), highlight=bool(highlight))
        for position, root, notify, highlight in connection.execute(_MENTIONING, values)
    )
    return [event for event in found if not read.covers(event.position, event.thread)]
