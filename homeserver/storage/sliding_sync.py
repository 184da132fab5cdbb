"""Connections of sliding sync: found by number, extended step by step, forgotten when nobody comes back to them.

What a step holds is known to the service alone.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from homeserver.storage.database import Transaction
from homeserver.storage.events import batched_list
from homeserver.storage.tables.sliding_sync import sliding_connections, sliding_steps
from homeserver.storage.upsert import insert_or_update


class Step(NamedTuple):
    """What one answer added. Steps of a connection are numbered upwards, not without gaps."""

    number: int
    changes: bytes


class StoredConnection(NamedTuple):
    """A connection and its steps, oldest first."""

    user_id: str
    device_id: str
    name: str
    used_ms: int
    steps: list[Step]


_FIND = select(
    sliding_connections.c.user_id,
    sliding_connections.c.device_id,
    sliding_connections.c.name,
    sliding_connections.c.used_ms,
).where(sliding_connections.c.nid == bindparam("connection"))
_STEPS = (
    select(sliding_steps.c.number, sliding_steps.c.changes)
    .where(sliding_steps.c.connection_nid == bindparam("connection"))
    .order_by(sliding_steps.c.number)
)
_OF_DEVICE = (
    select(sliding_connections.c.nid, sliding_connections.c.name)
    .where(
        sliding_connections.c.user_id == bindparam("user"),
        sliding_connections.c.device_id == bindparam("device"),
    )
    .order_by(sliding_connections.c.used_ms.desc(), sliding_connections.c.nid.desc())
)
_INSERT = insert(sliding_connections).returning(sliding_connections.c.nid)
_USE = (
    update(sliding_connections)
    .where(sliding_connections.c.nid == bindparam("connection"))
    .values(used_ms=bindparam("now_ms"))
)
_DELETE = delete(sliding_connections).where(sliding_connections.c.nid.in_(bindparam("nids", expanding=True)))
_DELETE_STEPS = delete(sliding_steps).where(sliding_steps.c.connection_nid.in_(bindparam("nids", expanding=True)))
_DELETE_LATER = delete(sliding_steps).where(
    sliding_steps.c.connection_nid == bindparam("connection"), sliding_steps.c.number > bindparam("step")
)
_DELETE_UP_TO = delete(sliding_steps).where(
    sliding_steps.c.connection_nid == bindparam("connection"), sliding_steps.c.number <= bindparam("step")
)
_PUT_STEP = insert_or_update(sliding_steps, ["connection_nid", "number"], ["changes"])
_UNUSED = (
    select(sliding_connections.c.nid)
    .where(sliding_connections.c.used_ms < bindparam("before"))
    .limit(bindparam("most"))
)
_BEYOND = (
    select(sliding_connections.c.nid)
    .order_by(sliding_connections.c.used_ms.desc(), sliding_connections.c.nid.desc())
    .limit(bindparam("most"))
    .offset(bindparam("kept"))
)


def find_connection(connection: Connection, nid: int) -> StoredConnection | None:
    """A connection with all of its steps."""
    row = connection.execute(_FIND, {"connection": nid}).first()
    if row is None:
        return None
    return StoredConnection(*row, [Step(*step) for step in connection.execute(_STEPS, {"connection": nid})])


def create_connection(
    tx: Transaction, user_id: str, device_id: str, name: str, now_ms: int, first: Step, most: int
) -> tuple[int, list[int]]:
    """A new connection in place of one of the same name; of a device's others, the `most` - 1 last used remain.

    Its number, and those of the connections that went for it.
    """
    others = tx.connection.execute(_OF_DEVICE, {"user": user_id, "device": device_id}).all()
    kept = [nid for nid, other in others if other != name][: most - 1]
    gone = [nid for nid, _ in others if nid not in kept]
    delete_connections(tx, gone)
    values = {"user_id": user_id, "device_id": device_id, "name": name, "used_ms": now_ms}
    nid = int(tx.connection.execute(_INSERT, values).scalar_one())
    _put(tx, nid, first)
    return nid, gone


def add_step(tx: Transaction, nid: int, after: int, step: Step, now_ms: int) -> bool:
    """Add what an answer told on top of step `after`; a step told on top of it before never arrived.

    False when the connection is gone.
    """
    if not use_connection(tx, nid, now_ms):
        return False
    tx.connection.execute(_DELETE_LATER, {"connection": nid, "step": after})
    _put(tx, nid, step)
    return True


def merge_steps(tx: Transaction, nid: int, merged: Step) -> None:
    """Put one step in the place of itself and all before it."""
    tx.connection.execute(_DELETE_UP_TO, {"connection": nid, "step": merged.number})
    _put(tx, nid, merged)


def use_connection(tx: Transaction, nid: int, now_ms: int) -> bool:
    """Note that a connection is in use; False when it is gone."""
    return tx.connection.execute(_USE, {"connection": nid, "now_ms": now_ms}).rowcount == 1


def delete_unused(tx: Transaction, before_ms: int, most: int) -> list[int]:
    """Retention: forget connections not used since a time, at most `most` of them; their numbers."""
    nids = list(tx.connection.execute(_UNUSED, {"before": before_ms, "most": most}).scalars())
    delete_connections(tx, nids)
    return nids


def delete_beyond(tx: Transaction, kept: int, most: int) -> list[int]:
    """Retention: keep only the `kept` last used connections of all; the numbers of at most `most` that go."""
    nids = list(tx.connection.execute(_BEYOND, {"kept": kept, "most": most}).scalars())
    delete_connections(tx, nids)
    return nids


def delete_connections(tx: Transaction, nids: list[int]) -> None:
    """Forget connections."""
    for some in batched_list(nids):
        tx.connection.execute(_DELETE_STEPS, {"nids": some})
        tx.connection.execute(_DELETE, {"nids": some})


def _put(tx: Transaction, nid: int, step: Step) -> None:
    tx.connection.execute(_PUT_STEP, {"connection_nid": nid, "number": step.number, "changes": step.changes})
