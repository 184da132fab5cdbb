"""One-time keys, each given out once and the oldest first, and the fallback keys for when there are none left.

Spec: client-server-api #one-time-and-fallback-keys
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from sqlalchemy import bindparam, delete, func, select, update

from homeserver.storage.changes import Change
from homeserver.storage.tables.device_keys import fallback_keys, one_time_key_changes, one_time_keys
from homeserver.storage.upsert import insert_or_ignore, insert_or_update

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction

ONE_TIME_KEYS = "one_time_keys"


class DeviceKeyCounts(NamedTuple):
    """How many one-time keys there are by algorithm, and the algorithms whose fallback key is unused."""

    one_time: dict[str, int]
    unused_fallback: tuple[str, ...]


class Wanted(NamedTuple):
    """A key to be claimed."""

    user_id: str
    device_id: str
    algorithm: str


class Claimed(NamedTuple):
    """A key given out; `key` is JSON."""

    user_id: str
    device_id: str
    key_id: str
    key: bytes


_OF_DEVICE = (one_time_keys.c.user_id == bindparam("of_user"), one_time_keys.c.device_id == bindparam("of_device"))
_OF_FALLBACK_DEVICE = (
    fallback_keys.c.user_id == bindparam("of_user"),
    fallback_keys.c.device_id == bindparam("of_device"),
)
_ALL = select(one_time_keys.c.algorithm, one_time_keys.c.key_id, one_time_keys.c.key).where(*_OF_DEVICE)
_INSERT = insert_or_ignore(one_time_keys, ["user_id", "device_id", "algorithm", "key_id"])
_COUNTS = select(one_time_keys.c.algorithm, func.count()).where(*_OF_DEVICE).group_by(one_time_keys.c.algorithm)
_UNUSED = (
    select(fallback_keys.c.algorithm)
    .where(*_OF_FALLBACK_DEVICE, ~fallback_keys.c.used)
    .order_by(fallback_keys.c.algorithm)
)
# Another process may be claiming the oldest key at this moment: take the next one instead of waiting for nothing.
_same = one_time_keys.alias("same")
_OLDEST = (
    select(_same.c.nid)
    .where(
        _same.c.user_id == bindparam("of_user"),
        _same.c.device_id == bindparam("of_device"),
        _same.c.algorithm == bindparam("of_algorithm"),
    )
    .order_by(_same.c.nid)
    .limit(1)
    .with_for_update(skip_locked=True)
    .scalar_subquery()
)
_TAKE = (
    delete(one_time_keys).where(one_time_keys.c.nid == _OLDEST).returning(one_time_keys.c.key_id, one_time_keys.c.key)
)
_THIS_FALLBACK = (*_OF_FALLBACK_DEVICE, fallback_keys.c.algorithm == bindparam("of_algorithm"))
_FALLBACK = select(fallback_keys.c.key_id, fallback_keys.c.key, fallback_keys.c.used).where(*_THIS_FALLBACK)
_USE_FALLBACK = update(fallback_keys).where(*_THIS_FALLBACK).values(used=True)
_STORE_FALLBACK = insert_or_update(fallback_keys, ["user_id", "device_id", "algorithm"], ["key_id", "key", "used"])
_NOTE_CHANGE = insert_or_update(one_time_key_changes, ["user_id", "device_id"], ["position"])
_CHANGES = select(one_time_key_changes.c.user_id, one_time_key_changes.c.position).where(
    one_time_key_changes.c.position > bindparam("after"), one_time_key_changes.c.position <= bindparam("up_to")
)
_DELETE = tuple(
    delete(table).where(
        table.c.user_id == bindparam("of_user"), table.c.device_id.in_(bindparam("devices", expanding=True))
    )
    for table in (one_time_keys, fallback_keys, one_time_key_changes)
)


def load_key_counts(connection: Connection, user_id: str, device_id: str) -> DeviceKeyCounts:
    """What is left of a device's keys; algorithms without one-time keys are not listed."""
    device = {"of_user": user_id, "of_device": device_id}
    one_time = {str(row[0]): int(row[1]) for row in connection.execute(_COUNTS, device)}
    return DeviceKeyCounts(one_time, tuple(connection.execute(_UNUSED, device).scalars()))


def load_one_time_keys(connection: Connection, user_id: str, device_id: str) -> dict[str, Any]:
    """All one-time keys of a device by `algorithm:key ID`."""
    rows = connection.execute(_ALL, {"of_user": user_id, "of_device": device_id})
    return {f"{algorithm}:{key_id}": orjson.loads(key) for algorithm, key_id, key in rows}


def add_one_time_keys(tx: Transaction, user_id: str, device_id: str, keys: Mapping[str, Any]) -> None:
    """Add keys by `algorithm:key ID`; those that are there stay as they are."""
    rows = []
    for full_id, key in keys.items():
        algorithm, _, key_id = full_id.partition(":")
        row = {"user_id": user_id, "device_id": device_id, "algorithm": algorithm, "key_id": key_id}
        rows.append({**row, "key": orjson.dumps(key)})
    tx.connection.execute(_INSERT, rows)


def store_fallback_key(tx: Transaction, user_id: str, device_id: str, full_id: str, key: Any) -> bool:
    """Replace the fallback key of the algorithm in `algorithm:key ID`; False if it is the same, used or not."""
    algorithm, _, key_id = full_id.partition(":")
    device = {"of_user": user_id, "of_device": device_id, "of_algorithm": algorithm}
    found = tx.connection.execute(_FALLBACK, device).first()
    if found is not None and found.key_id == key_id and orjson.loads(found.key) == key:
        return False
    row = {"user_id": user_id, "device_id": device_id, "algorithm": algorithm, "key_id": key_id}
    tx.connection.execute(_STORE_FALLBACK, {**row, "key": orjson.dumps(key), "used": False})
    return True


def claim_keys(tx: Transaction, wanted: Sequence[Wanted]) -> list[Claimed]:
    """Give out a key for each that is wanted: one-time keys once and for all, else the fallback key."""
    claimed: list[Claimed] = []
    changed: dict[tuple[str, str], None] = {}
    for one in wanted:
        values = {"of_user": one.user_id, "of_device": one.device_id, "of_algorithm": one.algorithm}
        taken = tx.connection.execute(_TAKE, values).first()
        if taken is not None:
            key_id, key = taken
            changed[(one.user_id, one.device_id)] = None
        else:
            fallback = tx.connection.execute(_FALLBACK, values).first()
            if fallback is None:
                continue
            key_id, key, used = fallback
            if not used:
                tx.connection.execute(_USE_FALLBACK, values)
                changed[(one.user_id, one.device_id)] = None
        claimed.append(Claimed(one.user_id, one.device_id, f"{one.algorithm}:{key_id}", bytes(key)))
    note_key_changes(tx, list(changed))
    return claimed


def note_key_changes(tx: Transaction, devices: Sequence[tuple[str, str]]) -> None:
    """Note, and announce, that the one-time or fallback keys of (user ID, device ID) are not what they were."""
    by_user: dict[str, int] = defaultdict(int)
    rows = []
    for user_id, device_id in devices:
        by_user[user_id] = tx.next_position()
        rows.append({"user_id": user_id, "device_id": device_id, "position": by_user[user_id]})
    if rows:
        tx.connection.execute(_NOTE_CHANGE, rows)
    for user_id, position in by_user.items():
        tx.announce(Change(position, ONE_TIME_KEYS, user_ids=(user_id,)))


def load_changes(connection: Connection, after: int, up_to: int) -> list[Change]:
    """What was announced in a span of the log, for a process that has to catch up."""
    rows = connection.execute(_CHANGES, {"after": after, "up_to": up_to})
    return [Change(position, ONE_TIME_KEYS, user_ids=(user_id,)) for user_id, position in rows]


def delete_one_time_keys(tx: Transaction, user_id: str, device_ids: Sequence[str]) -> None:
    """Delete the one-time and fallback keys of devices."""
    for statement in _DELETE:
        tx.connection.execute(statement, {"of_user": user_id, "devices": list(device_ids)})
