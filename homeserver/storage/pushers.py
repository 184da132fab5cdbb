"""Pushers and their queues of notifications: rows of `pushers` and `push_queue`.

Spec: client-server-api #push-notifications
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from sqlalchemy import bindparam, delete, select, true, update

from homeserver.storage.tables.pushers import push_queue, pushers
from homeserver.storage.upsert import insert_or_ignore, insert_or_update

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class StoredPusher:
    """One pusher. `failures` counts the deliveries that failed in a row; before `retry_ms` none is tried."""

    nid: int
    user_id: str
    app_id: str
    pushkey: str
    kind: str
    app_display_name: str
    device_display_name: str
    lang: str
    data: dict[str, Any]
    set_ms: int
    profile_tag: str | None = None
    device_id: str | None = None
    failures: int = 0
    retry_ms: int | None = None
    enabled: bool = True


class NewPusher(NamedTuple):
    """What is stored of a pusher when a client sets it."""

    user_id: str
    app_id: str
    pushkey: str
    kind: str
    app_display_name: str
    device_display_name: str
    lang: str
    data: dict[str, Any]
    set_ms: int
    profile_tag: str | None
    device_id: str | None
    enabled: bool = True


class Queued(NamedTuple):
    """A notification that waits. `position` is that of its event."""

    pusher_nid: int
    position: int
    event_id: str
    tweaks: dict[str, Any]
    created_ms: int


_COLUMNS = (
    pushers.c.pusher_nid,
    pushers.c.user_id,
    pushers.c.app_id,
    pushers.c.pushkey,
    pushers.c.kind,
    pushers.c.app_display_name,
    pushers.c.device_display_name,
    pushers.c.lang,
    pushers.c.data,
    pushers.c.set_ms,
    pushers.c.profile_tag,
    pushers.c.device_id,
    pushers.c.failures,
    pushers.c.retry_ms,
    pushers.c.enabled,
)
_OF_USER = pushers.c.user_id == bindparam("of_user")
_ONE = pushers.c.pusher_nid == bindparam("wanted")
_SELECT_ENABLED = select(pushers.c.user_id, pushers.c.pusher_nid).where(pushers.c.enabled == true())
_SELECT_OF_USER = select(*_COLUMNS).where(_OF_USER).order_by(pushers.c.pusher_nid)
_SELECT_ONE = select(*_COLUMNS).where(_ONE)
_SELECT_NIDS = select(pushers.c.pusher_nid)
_FIND = _SELECT_NIDS.where(_OF_USER, pushers.c.app_id == bindparam("app"), pushers.c.pushkey == bindparam("key"))
_FIND_DEVICE = select(pushers.c.device_id).where(
    _OF_USER, pushers.c.app_id == bindparam("app"), pushers.c.pushkey == bindparam("key")
)
_FIND_OTHERS = _SELECT_NIDS.where(
    pushers.c.user_id != bindparam("of_user"),
    pushers.c.app_id == bindparam("app"),
    pushers.c.pushkey == bindparam("key"),
)
_FIND_BY_DEVICE = _SELECT_NIDS.where(_OF_USER, pushers.c.device_id.in_(bindparam("devices", expanding=True)))
_FIND_OF_USER = _SELECT_NIDS.where(_OF_USER)
_FIND_REJECTED = _SELECT_NIDS.where(
    pushers.c.app_id == bindparam("app"), pushers.c.pushkey.in_(bindparam("keys", expanding=True))
)
_STORE = insert_or_update(
    pushers,
    ["user_id", "app_id", "pushkey"],
    [
        "kind",
        "app_display_name",
        "device_display_name",
        "lang",
        "data",
        "set_ms",
        "profile_tag",
        "device_id",
        "failures",
        "retry_ms",
        "enabled",
    ],
)
_DELETE = delete(pushers).where(pushers.c.pusher_nid.in_(bindparam("nids", expanding=True)))
_DELETE_QUEUES = delete(push_queue).where(push_queue.c.pusher_nid.in_(bindparam("nids", expanding=True)))
_SET_RETRY = update(pushers).where(_ONE).values(failures=bindparam("new_failures"), retry_ms=bindparam("new_retry"))
_QUEUE = insert_or_ignore(push_queue, ["pusher_nid", "position"])
_SELECT_QUEUE = (
    select(
        push_queue.c.pusher_nid,
        push_queue.c.position,
        push_queue.c.event_id,
        push_queue.c.tweaks,
        push_queue.c.created_ms,
    )
    .where(push_queue.c.pusher_nid == bindparam("wanted"))
    .order_by(push_queue.c.position)
    .limit(bindparam("most"))
)
_SELECT_WAITING = select(push_queue.c.pusher_nid).distinct()
_DELETE_QUEUED = delete(push_queue).where(
    push_queue.c.pusher_nid == bindparam("wanted"), push_queue.c.position == bindparam("at")
)
_DELETE_OLD = delete(push_queue).where(
    push_queue.c.pusher_nid == bindparam("wanted"), push_queue.c.created_ms < bindparam("before_ms")
)


def load_pusher_nids(connection: Connection) -> dict[str, list[int]]:
    """The enabled pushers by user: whom it is worth working out notifications for."""
    found: dict[str, list[int]] = {}
    for user_id, nid in connection.execute(_SELECT_ENABLED):
        found.setdefault(user_id, []).append(nid)
    return found


def load_pushers(connection: Connection, user_id: str) -> list[StoredPusher]:
    """The pushers of one user, oldest first."""
    return [_unpack(row) for row in connection.execute(_SELECT_OF_USER, {"of_user": user_id})]


def find_pusher(connection: Connection, nid: int) -> StoredPusher | None:
    row = connection.execute(_SELECT_ONE, {"wanted": nid}).first()
    return None if row is None else _unpack(row)


def store_pusher(tx: Transaction, pusher: NewPusher, *, append: bool, keep_device: bool = False) -> int:
    """Create a pusher, or change the one with the same app and key; unless `append`, other users' go. Its number.

    `keep_device`: it stays with the device it belongs to, although another one changes it. What waits for a pusher
    that is not enabled is dropped.
    """
    key = {"of_user": pusher.user_id, "app": pusher.app_id, "key": pusher.pushkey}
    if not append:
        _delete(tx, tx.connection.execute(_FIND_OTHERS, key).scalars().all())
    values = {**pusher._asdict(), "data": orjson.dumps(pusher.data), "failures": 0, "retry_ms": None}
    known = tx.connection.execute(_FIND_DEVICE, key).first() if keep_device else None
    if known is not None:
        values["device_id"] = known[0]
    tx.connection.execute(_STORE, values)
    nid = int(tx.connection.execute(_FIND, key).scalar_one())
    if not pusher.enabled:
        drop_queue(tx, nid)
    return nid


def delete_pusher(tx: Transaction, user_id: str, app_id: str, pushkey: str) -> None:
    key = {"of_user": user_id, "app": app_id, "key": pushkey}
    _delete(tx, tx.connection.execute(_FIND, key).scalars().all())


def delete_of_devices(tx: Transaction, user_id: str, device_ids: Sequence[str]) -> None:
    """The devices are gone, and what they asked for with them."""
    parameters = {"of_user": user_id, "devices": list(device_ids)}
    _delete(tx, tx.connection.execute(_FIND_BY_DEVICE, parameters).scalars().all())


def delete_of_user(tx: Transaction, user_id: str) -> None:
    _delete(tx, tx.connection.execute(_FIND_OF_USER, {"of_user": user_id}).scalars().all())


def forget_pusher(tx: Transaction, nid: int) -> None:
    """Delete a pusher by its number, and what waits for it, whether or not it is still there."""
    _delete(tx, [nid])


def delete_rejected(tx: Transaction, app_id: str, pushkeys: Collection[str]) -> None:
    """The push gateway says that these keys are of no use any more, whoever uses them."""
    parameters = {"app": app_id, "keys": list(pushkeys)}
    _delete(tx, tx.connection.execute(_FIND_REJECTED, parameters).scalars().all())


def set_retry(tx: Transaction, nid: int, failures: int, retry_ms: int | None) -> None:
    tx.connection.execute(_SET_RETRY, {"wanted": nid, "new_failures": failures, "new_retry": retry_ms})


def queue_notifications(tx: Transaction, queued: Sequence[Queued]) -> None:
    """Add notifications; one that is queued already stays as it is."""
    rows = [{**one._asdict(), "tweaks": orjson.dumps(one.tweaks)} for one in queued]
    if rows:
        tx.connection.execute(_QUEUE, rows)


def load_queued(connection: Connection, nid: int, most: int) -> list[Queued]:
    """The oldest notifications that wait for a pusher."""
    rows = connection.execute(_SELECT_QUEUE, {"wanted": nid, "most": most})
    return [Queued(nid_, position, event_id, orjson.loads(raw), ms) for nid_, position, event_id, raw, ms in rows]


def load_waiting(connection: Connection) -> list[int]:
    """The pushers for which notifications wait."""
    return list(connection.execute(_SELECT_WAITING).scalars())


def finish_queued(tx: Transaction, nid: int, position: int) -> None:
    """A notification was delivered, or need not be any more."""
    tx.connection.execute(_DELETE_QUEUED, {"wanted": nid, "at": position})
    set_retry(tx, nid, 0, None)


def drop_queue(tx: Transaction, nid: int) -> None:
    """Nothing is to be delivered to a pusher."""
    tx.connection.execute(_DELETE_QUEUES, {"nids": [nid]})


def drop_old(tx: Transaction, nid: int, before_ms: int) -> int:
    """Give up on notifications queued before `before_ms`; how many."""
    return tx.connection.execute(_DELETE_OLD, {"wanted": nid, "before_ms": before_ms}).rowcount


def _delete(tx: Transaction, nids: Sequence[int]) -> None:
    if nids:
        tx.connection.execute(_DELETE, {"nids": list(nids)})
        tx.connection.execute(_DELETE_QUEUES, {"nids": list(nids)})


def _unpack(row: Any) -> StoredPusher:
    values = list(row)
    values[8] = orjson.loads(values[8])
    return StoredPusher(*values)
