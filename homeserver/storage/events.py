"""Reads events back from the log: by id, by room and range, by relation.

Rows become `StoredEvent`s: the PDU with its place in the log and what has happened to it since.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import orjson
from sqlalchemy import Connection, Select, and_, bindparam, or_, select

from homeserver.protocol.events import Event
from homeserver.protocol.receipt import Standing
from homeserver.protocol.room_versions import get_room_version
from homeserver.storage.tables.events import events, transaction_ids
from homeserver.storage.tables.rooms import rooms

T = TypeVar("T")

_LARGEST_IN_LIST = 500
# Kept as numbers: every row has one.
_STANDINGS = (Standing.ACCEPTED, Standing.SOFT_FAILED, Standing.REJECTED)


class Place(NamedTuple):
    """Where an event stands in its room's timeline: by depth first, by arrival among equals.

    As a point between events it lies right behind the event of that place.
    """

    depth: int
    position: int

    @property
    def before(self) -> Place:
        """The point in front of the event of this place."""
        return Place(self.depth, self.position - 1)


class TransactionId(NamedTuple):
    """How the device that sent an event named it."""

    device_id: str
    transaction_id: str


class Mention(NamedTuple):
    """A member whom an event singles out.

    `notify`: it notifies them although it notifies nobody else. `highlight`: it is shown to them as important.
    """

    user_id: str
    notify: bool
    highlight: bool


@dataclass(slots=True, eq=False)
class StoredEvent:
    """An event of the log. `position` is None for an outlier, negative for history fetched backwards.

    `redacted_by` is the redaction that took its content away; `event` is always the event as it was sent.
    """

    event: Event
    nid: int
    position: int | None
    standing: Standing
    reason: str | None = None
    state_before: int | None = None
    state_after: int | None = None
    notify: int = 0
    thread_root: str | None = None
    transaction: TransactionId | None = None
    redacted_by: Event | None = None
    # The client format as bytes, made once by whoever serves it first and dropped when the event is redacted.
    client_json: bytes | None = None
    # False while nothing is known to relate to it, True once something does, None when only the database knows.
    has_children: bool | None = None
    # Whom the event singles out; kept for events of this process's memory only.
    mentions: Sequence[Mention] = ()

    @property
    def event_id(self) -> str:
        return self.event.event_id

    @property
    def place(self) -> Place:
        """Raises for outliers, which have none."""
        if self.position is None:
            raise ValueError(f"{self.event_id} is an outlier")
        return Place(self.event.depth, self.position)

    @property
    def size(self) -> int:
        """Roughly the bytes of memory this takes."""
        return 1_500 + 3 * len(self.client_json or b"")


_redactions = events.alias("redactions_of")
_COLUMNS = (
    events.c.nid,
    events.c.event_id,
    rooms.c.version,
    events.c.position,
    events.c.standing,
    events.c.reason,
    events.c.state_before_nid,
    events.c.state_after_nid,
    events.c.notify,
    events.c.thread_root,
    events.c.pdu,
    transaction_ids.c.device_id,
    transaction_ids.c.transaction_id,
    _redactions.c.event_id,
    _redactions.c.pdu,
)
_SOURCE = (
    events.join(rooms, rooms.c.nid == events.c.room_nid)
    .outerjoin(transaction_ids, transaction_ids.c.event_nid == events.c.nid)
    .outerjoin(_redactions, _redactions.c.nid == events.c.redacted_by_nid)
)
STORED_EVENTS: Select[Any] = select(*_COLUMNS).select_from(_SOURCE)
_BY_ID = STORED_EVENTS.where(events.c.event_id.in_(bindparam("ids", expanding=True)))
_BY_NID = STORED_EVENTS.where(events.c.nid.in_(bindparam("nids", expanding=True)))

# What clients may be shown at all: accepted events that have a place in the timeline.
VISIBLE = and_(events.c.position.is_not(None), events.c.standing == 0)
_IN_ROOM = STORED_EVENTS.where(rooms.c.room_id == bindparam("room_id"), VISIBLE)
_SINCE = (
    _IN_ROOM.where(events.c.position > bindparam("after"), events.c.position <= bindparam("up_to"))
    .order_by(events.c.position.desc())
    .limit(bindparam("limit"))
)
_SINCE_FORWARDS = (
    _IN_ROOM.where(events.c.position > bindparam("after"), events.c.position <= bindparam("up_to"))
    .order_by(events.c.position)
    .limit(bindparam("limit"))
)


def _beyond(forwards: bool) -> Any:
    depth: Any = bindparam("depth")
    position: Any = bindparam("position")
    if forwards:
        return or_(events.c.depth > depth, and_(events.c.depth == depth, events.c.position > position))
    return or_(events.c.depth < depth, and_(events.c.depth == depth, events.c.position <= position))


_BEFORE = (
    _IN_ROOM.where(_beyond(forwards=False))
    .order_by(events.c.depth.desc(), events.c.position.desc())
    .limit(bindparam("limit"))
)
_AFTER = _IN_ROOM.where(_beyond(forwards=True)).order_by(events.c.depth, events.c.position).limit(bindparam("limit"))
_LAST_PLACE = (
    select(events.c.depth, events.c.position)
    .join(rooms, rooms.c.nid == events.c.room_nid)
    .where(rooms.c.room_id == bindparam("room_id"), VISIBLE, events.c.position <= bindparam("up_to"))
    .order_by(events.c.position.desc())
    .limit(1)
)
_CLOSEST_BEFORE = (
    _IN_ROOM.where(events.c.origin_server_ts <= bindparam("ts"))
    .order_by(events.c.origin_server_ts.desc(), events.c.depth.desc(), events.c.position.desc())
    .limit(1)
)
_CLOSEST_AFTER = (
    _IN_ROOM.where(events.c.origin_server_ts >= bindparam("ts"))
    .order_by(events.c.origin_server_ts, events.c.depth, events.c.position)
    .limit(1)
)
_NEWEST = select(events.c.position).where(events.c.position > 0).order_by(events.c.nid.desc()).limit(1)
_LOG = (
    STORED_EVENTS.where(events.c.position > bindparam("after"), events.c.position <= bindparam("up_to"))
    .order_by(events.c.position)
    .limit(bindparam("limit"))
)


def standing_code(standing: Standing) -> int:
    """How a standing is stored."""
    return _STANDINGS.index(standing)


def load_events(connection: Connection, event_ids: Collection[str]) -> dict[str, StoredEvent]:
    """The events among `event_ids` that are stored, outliers and rejected ones included, by id."""
    found: dict[str, StoredEvent] = {}
    for some in batched_list(event_ids):
        for stored in _unpack(connection.execute(_BY_ID, {"ids": some})):
            found[stored.event_id] = stored
    return found


def load_events_by_nid(connection: Connection, nids: Collection[int]) -> list[StoredEvent]:
    """The events with these row numbers, in no particular order."""
    found: list[StoredEvent] = []
    for some in batched_list(nids):
        found.extend(_unpack(connection.execute(_BY_NID, {"nids": some})))
    return found


def load_newest(connection: Connection, room_id: str, after: int, up_to: int, limit: int) -> list[StoredEvent]:
    """The newest `limit` events of a room with `after` < position <= `up_to`, oldest first."""
    rows = connection.execute(_SINCE, {"room_id": room_id, "after": after, "up_to": up_to, "limit": limit})
    return _unpack(rows)[::-1]


def load_oldest(connection: Connection, room_id: str, after: int, up_to: int, limit: int) -> list[StoredEvent]:
    """The oldest `limit` events of a room with `after` < position <= `up_to`, oldest first."""
    rows = connection.execute(_SINCE_FORWARDS, {"room_id": room_id, "after": after, "up_to": up_to, "limit": limit})
    return _unpack(rows)


def load_page(connection: Connection, room_id: str, start: Place, *, forwards: bool, limit: int) -> list[StoredEvent]:
    """Up to `limit` events behind the point `start` in a room's timeline, or in front of it, nearest first."""
    statement = _AFTER if forwards else _BEFORE
    values = {"room_id": room_id, "depth": start.depth, "position": start.position, "limit": limit}
    return _unpack(connection.execute(statement, values))


def find_last_place(connection: Connection, room_id: str, up_to: int) -> Place | None:
    """Where the newest event of a room with position <= `up_to` stands."""
    row = connection.execute(_LAST_PLACE, {"room_id": room_id, "up_to": up_to}).first()
    return Place(*row) if row else None


def find_closest(connection: Connection, room_id: str, timestamp_ms: int, *, forwards: bool) -> StoredEvent | None:
    """The event sent nearest to `timestamp_ms`, at or after it when `forwards`, else at or before it."""
    statement = _CLOSEST_AFTER if forwards else _CLOSEST_BEFORE
    found = _unpack(connection.execute(statement, {"room_id": room_id, "ts": timestamp_ms}))
    return found[0] if found else None


def load_newest_position(connection: Connection) -> int:
    """The position of the newest event in the log; 0 if there is none."""
    return connection.execute(_NEWEST).scalar() or 0


def load_log(connection: Connection, after: int, up_to: int, limit: int) -> list[StoredEvent]:
    """Events of all rooms in the order of the log, for followers."""
    return _unpack(connection.execute(_LOG, {"after": after, "up_to": up_to, "limit": limit}))


def find_transaction(
    connection: Connection, user_id: str, device_id: str, scope: str, transaction_id: str
) -> str | None:
    """The id of the event this device sent under `transaction_id`, if it did so before."""
    values = {"user_id": user_id, "device_id": device_id, "scope": scope, "transaction_id": transaction_id}
    return connection.execute(_TRANSACTION, values).scalar()


_TRANSACTION = (
    select(events.c.event_id)
    .join(transaction_ids, transaction_ids.c.event_nid == events.c.nid)
    .where(
        transaction_ids.c.user_id == bindparam("user_id"),
        transaction_ids.c.device_id == bindparam("device_id"),
        transaction_ids.c.scope == bindparam("scope"),
        transaction_ids.c.transaction_id == bindparam("transaction_id"),
    )
)


def unpack_events(rows: Iterable[Any]) -> list[StoredEvent]:
    """Turn rows of a statement built on `STORED_EVENTS` into events."""
    return _unpack(rows)


def batched_list(items: Collection[T]) -> Iterable[Sequence[T]]:
    """`items` in lists short enough for one statement."""
    remaining = iter(items)
    while some := list(islice(remaining, _LARGEST_IN_LIST)):
        yield some


def _unpack(rows: Iterable[Any]) -> list[StoredEvent]:
    found = []
    for (
        nid,
        event_id,
        version,
        position,
        standing,
        reason,
        state_before,
        state_after,
        notify,
        thread_root,
        pdu,
        device_id,
        transaction_id,
        redaction_id,
        redaction,
    ) in rows:
        room_version = get_room_version(version)
        found.append(
            StoredEvent(
                event=Event(orjson.loads(pdu), room_version, event_id),
                nid=nid,
                position=position,
                standing=_STANDINGS[standing],
                reason=reason,
                state_before=state_before,
                state_after=state_after,
                notify=notify,
                thread_root=thread_root,
                transaction=TransactionId(device_id, transaction_id) if transaction_id is not None else None,
                redacted_by=Event(orjson.loads(redaction), room_version, redaction_id) if redaction_id else None,
            )
        )
    return found
