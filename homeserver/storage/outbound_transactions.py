"""What is sent to a server next: planned, kept until it has arrived, and then ticked off.

A transaction is stored before it is sent, so that after a crash the same one is sent again under the same ID.

Spec: server-server-api #transactions
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from sqlalchemy import bindparam, delete, func, insert, or_, select, update

from homeserver.storage.changes import Change
from homeserver.storage.database import load_position
from homeserver.storage.tables.destinations import (
    destinations,
    device_lists_sent,
    outbound_edus,
    outbound_events,
    server_set_members,
)
from homeserver.storage.upsert import insert_or_ignore, insert_or_update

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction

OUTBOUND_EDU = "outbound_edu"
"""The subject of the change announced for a queued EDU; its detail is the server's name."""

MOST_EVENTS = 50
MOST_STORED_EDUS = 80  # of the 100 a transaction may hold; the others are for what is not stored
CATCH_UP_FROM = 20_000  # what a busy hour leaves behind; of more, only the newest of each room is sent


class NewTransaction(NamedTuple):
    """What a new transaction would be called, and the EDUs from memory it would take along."""

    transaction_id: str
    now_ms: int
    edus: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class OutboundTransaction:
    """A transaction to be sent. `is_new` is False for one that was sent before, perhaps in vain."""

    transaction_id: str
    created_ms: int
    event_nids: tuple[int, ...]
    edus: tuple[Any, ...]
    is_new: bool


class QueuedEdu(NamedTuple):
    """An EDU for a server; `edu` is JSON."""

    server_name: str
    edu: bytes


_SELECT = select(
    destinations.c.events_position,
    destinations.c.transaction_id,
    destinations.c.transaction_events_position,
    destinations.c.transaction_edus_position,
    destinations.c.transaction_body,
).where(destinations.c.server_name == bindparam("of_server"))
_CREATE = insert_or_ignore(destinations, ["server_name"])
_PLAN = (
    update(destinations)
    .where(destinations.c.server_name == bindparam("of_server"))
    .values(
        transaction_id=bindparam("new_id"),
        transaction_events_position=bindparam("new_events"),
        transaction_edus_position=bindparam("new_edus"),
        transaction_body=bindparam("new_body"),
    )
)
_FINISH = (
    update(destinations)
    .where(destinations.c.server_name == bindparam("of_server"))
    .values(events_position=bindparam("arrived"), transaction_id=None, transaction_body=None)
)
_WAITING = (
    outbound_events.join(server_set_members, server_set_members.c.set_nid == outbound_events.c.set_nid),
    server_set_members.c.server_name == bindparam("of_server"),
    outbound_events.c.position > bindparam("after"),
)
_NEXT_EVENTS = (
    select(outbound_events.c.position, outbound_events.c.event_nid)
    .select_from(_WAITING[0])
    .where(*_WAITING[1:])
    .order_by(outbound_events.c.position)
    .limit(bindparam("most"))
)
_ONE_MORE_THAN = (
    select(outbound_events.c.position)
    .select_from(_WAITING[0])
    .where(*_WAITING[1:])
    .order_by(outbound_events.c.position)
    .limit(1)
    .offset(bindparam("skipped"))
)
_NEWEST_BY_ROOM = (
    select(func.max(outbound_events.c.position).label("newest"))
    .select_from(_WAITING[0])
    .where(*_WAITING[1:])
    .group_by(outbound_events.c.room_nid)
    .order_by("newest")
    .limit(bindparam("most"))
)
_BY_POSITION = (
    select(outbound_events.c.position, outbound_events.c.event_nid)
    .where(outbound_events.c.position.in_(bindparam("positions", expanding=True)))
    .order_by(outbound_events.c.position)
)
_NEXT_EDUS = (
    select(outbound_edus.c.position, outbound_edus.c.edu)
    .where(outbound_edus.c.server_name == bindparam("of_server"), outbound_edus.c.position <= bindparam("up_to"))
    .order_by(outbound_edus.c.position)
    .limit(bindparam("most"))
)
_DROP_EDUS = delete(outbound_edus).where(
    outbound_edus.c.server_name == bindparam("of_server"), outbound_edus.c.position <= bindparam("up_to")
)
_INSERT_EDUS = insert(outbound_edus)
_DROP_OLD_EDUS = delete(outbound_edus).where(outbound_edus.c.queued_ms < bindparam("before_ms"))
_NEWEST_OF_SETS = (
    select(outbound_events.c.set_nid, func.max(outbound_events.c.position).label("newest"))
    .group_by(outbound_events.c.set_nid)
    .subquery()
)
_SERVERS_WITH_EVENTS = (
    select(server_set_members.c.server_name)
    .distinct()
    .join(_NEWEST_OF_SETS, _NEWEST_OF_SETS.c.set_nid == server_set_members.c.set_nid)
    .outerjoin(destinations, destinations.c.server_name == server_set_members.c.server_name)
    .where(or_(destinations.c.events_position.is_(None), destinations.c.events_position < _NEWEST_OF_SETS.c.newest))
)
_MOST_WAITING = (
    select(server_set_members.c.server_name, func.count().label("waiting"))
    .join(outbound_events, outbound_events.c.set_nid == server_set_members.c.set_nid)
    .outerjoin(destinations, destinations.c.server_name == server_set_members.c.server_name)
    .where(outbound_events.c.position > func.coalesce(destinations.c.events_position, 0))
    .group_by(server_set_members.c.server_name)
    .order_by(func.count().desc(), server_set_members.c.server_name)
    .limit(bindparam("most"))
)
_SERVERS_WITH_EDUS = select(outbound_edus.c.server_name).distinct()
_SERVERS_UNDER_WAY = select(destinations.c.server_name).where(destinations.c.transaction_id.is_not(None))
_FIND_SENT = select(device_lists_sent.c.stream_id).where(device_lists_sent.c.user_id == bindparam("of_user"))
_STORE_SENT = insert_or_update(device_lists_sent, ["user_id"], ["stream_id"])


def next_transaction(
    tx: Transaction, server_name: str, arrived: str | None, new: NewTransaction
) -> OutboundTransaction | None:
    """Tick off the transaction `arrived`, if any; then what to send now, None if there is nothing.

    A transaction that has not arrived yet comes again as it was, without what `new` brings.
    """
    of_server = {"of_server": server_name}
    row = tx.connection.execute(_SELECT, of_server).first()
    if row is None:
        tx.connection.execute(_CREATE, {"server_name": server_name, "events_position": 0})
        return _plan(tx, server_name, 0, new)
    if row.transaction_id is None:
        return _plan(tx, server_name, row.events_position, new)
    if row.transaction_id != arrived:
        return _unpacked(row.transaction_id, row.transaction_body, is_new=False)
    tx.connection.execute(_FINISH, {**of_server, "arrived": row.transaction_events_position})
    tx.connection.execute(_DROP_EDUS, {**of_server, "up_to": row.transaction_edus_position})
    return _plan(tx, server_name, row.transaction_events_position, new)


def queue_edus(tx: Transaction, edus: Sequence[QueuedEdu], now_ms: int) -> None:
    """Have EDUs sent to servers; they are kept until they have arrived."""
    rows = [
        {"server_name": one.server_name, "position": tx.next_position(), "edu": one.edu, "queued_ms": now_ms}
        for one in edus
    ]
    if not rows:
        return
    tx.connection.execute(_INSERT_EDUS, rows)
    for one, row in zip(edus, rows, strict=True):
        tx.announce(Change(int(str(row["position"])), OUTBOUND_EDU, detail=one.server_name))


def load_servers_to_serve(connection: Connection) -> set[str]:
    """All servers for which something waits or is under way."""
    found: set[str] = set()
    for statement in (_SERVERS_WITH_EVENTS, _SERVERS_WITH_EDUS, _SERVERS_UNDER_WAY):
        found.update(connection.execute(statement).scalars())
    return found


def count_waiting_events(connection: Connection, most: int) -> dict[str, int]:
    """The servers for which most events wait, and how many."""
    return {row.server_name: row.waiting for row in connection.execute(_MOST_WAITING, {"most": most})}


def take_device_list_step(tx: Transaction, user_id: str, stream_id: int) -> tuple[int, ...]:
    """Note that an update of a user's devices goes out; the stream IDs of the update before it."""
    before = tx.connection.execute(_FIND_SENT, {"of_user": user_id}).scalar()
    tx.connection.execute(_STORE_SENT, {"user_id": user_id, "stream_id": stream_id})
    return () if before is None else (before,)


def delete_old_edus(tx: Transaction, before_ms: int) -> int:
    """Retention: give up on EDUs that have waited for too long; how many."""
    return tx.connection.execute(_DROP_OLD_EDUS, {"before_ms": before_ms}).rowcount


def _plan(tx: Transaction, server_name: str, after: int, new: NewTransaction) -> OutboundTransaction | None:
    waiting = _next_events(tx.connection, server_name, after)
    up_to = load_position(tx.connection)
    edus = tx.connection.execute(_NEXT_EDUS, {"of_server": server_name, "up_to": up_to, "most": MOST_STORED_EDUS}).all()
    if not waiting and not edus and not new.edus:
        return None
    body = {
        "created_ms": new.now_ms,
        "events": [nid for _, nid in waiting],
        "edus": [orjson.Fragment(edu) for edu in (*(bytes(row.edu) for row in edus), *new.edus)],
    }
    packed = orjson.dumps(body)
    values = {
        "of_server": server_name,
        "new_id": new.transaction_id,
        "new_events": waiting[-1][0] if waiting else after,
        "new_edus": edus[-1].position if edus else 0,
        "new_body": packed,
    }
    tx.connection.execute(_PLAN, values)
    return _unpacked(new.transaction_id, packed, is_new=True)


def _next_events(connection: Connection, server_name: str, after: int) -> list[tuple[int, int]]:
    """Position and row number of the next events; after a long outage only the newest of each room.

    The server fetches what lies between as far as it wants it.
    """
    values = {"of_server": server_name, "after": after}
    found = connection.execute(_NEXT_EVENTS, {**values, "most": MOST_EVENTS}).all()
    is_full = len(found) == MOST_EVENTS
    if not is_full or connection.execute(_ONE_MORE_THAN, {**values, "skipped": CATCH_UP_FROM}).first() is None:
        return [(row.position, row.event_nid) for row in found]
    newest = list(connection.execute(_NEWEST_BY_ROOM, {**values, "most": MOST_EVENTS}).scalars())
    return [tuple(row) for row in connection.execute(_BY_POSITION, {"positions": newest})]


def _unpacked(transaction_id: str, packed: bytes, *, is_new: bool) -> OutboundTransaction:
    body = orjson.loads(bytes(packed))
    return OutboundTransaction(transaction_id, body["created_ms"], tuple(body["events"]), tuple(body["edus"]), is_new)
