"""Messages for single devices, kept until the device has them; and the sender's transaction ids.

Each message has a position of its own, so that a sync may stop after any of them.

Spec: client-server-api #send-to-device-messaging
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import bindparam, delete, func, insert, select

from homeserver.storage.changes import Change
from homeserver.storage.events import batched_list
from homeserver.storage.tables.sessions import devices
from homeserver.storage.tables.to_device import to_device_messages, to_device_transactions
from homeserver.storage.upsert import insert_or_ignore

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction

TO_DEVICE = "to_device"
ALL_DEVICES = "*"
MOST_WAITING = 10_000
"""Messages kept for one device; the oldest go."""


class NewMessage(NamedTuple):
    """A message for one device, or for `ALL_DEVICES` of a user; `message` is JSON."""

    user_id: str
    device_id: str
    message: bytes


class SentUnder(NamedTuple):
    """What makes a sending the same as an earlier one. `device_id` is "" for senders without one."""

    user_id: str
    device_id: str
    event_type: str
    transaction_id: str


class Waiting(NamedTuple):
    """Messages for a device as (position, JSON), and whether there are any up to the position asked for."""

    has_old: bool
    messages: list[tuple[int, bytes]]


_messages = to_device_messages
_OF_DEVICE = (_messages.c.user_id == bindparam("of_user"), _messages.c.device_id == bindparam("of_device"))
_TAKE_TRANSACTION = insert_or_ignore(
    to_device_transactions, ["user_id", "device_id", "event_type", "transaction_id"]
).returning(to_device_transactions.c.transaction_id)
_DEVICES = select(devices.c.user_id, devices.c.device_id).where(
    devices.c.user_id.in_(bindparam("users", expanding=True))
)
_INSERT = insert(_messages)
_COUNTS = (
    select(_messages.c.user_id, _messages.c.device_id, func.count())
    .where(_messages.c.user_id.in_(bindparam("users", expanding=True)))
    .group_by(_messages.c.user_id, _messages.c.device_id)
    .having(func.count() > bindparam("most"))
)
_FIRST_KEPT = (
    select(_messages.c.position)
    .where(*_OF_DEVICE)
    .order_by(_messages.c.position.desc())
    .limit(1)
    .offset(bindparam("kept"))
)
_OLDEST = select(func.min(_messages.c.position)).where(*_OF_DEVICE)
_AFTER = (
    select(_messages.c.position, _messages.c.message)
    .where(*_OF_DEVICE, _messages.c.position > bindparam("after"))
    .order_by(_messages.c.position)
    .limit(bindparam("limit"))
)
_DELIVERED = delete(_messages).where(*_OF_DEVICE, _messages.c.position <= bindparam("up_to"))
_CHANGES = (
    select(_messages.c.user_id, func.max(_messages.c.position))
    .where(_messages.c.position > bindparam("after"), _messages.c.position <= bindparam("up_to"))
    .group_by(_messages.c.user_id)
)
_DELETE = tuple(
    delete(table).where(
        table.c.user_id == bindparam("of_user"), table.c.device_id.in_(bindparam("devices", expanding=True))
    )
    for table in (to_device_messages, to_device_transactions)
)
_STALE = (
    select(_messages.c.position)
    .where(_messages.c.received_ms < bindparam("before_ms"))
    .order_by(_messages.c.received_ms)
    .limit(bindparam("most"))
)
_DELETE_STALE = delete(_messages).where(_messages.c.position.in_(_STALE))
_DELETE_TRANSACTIONS = delete(to_device_transactions).where(
    to_device_transactions.c.received_ms < bindparam("before_ms")
)


def take_transaction(tx: Transaction, sent: SentUnder, now_ms: int) -> bool:
    """Remember a sending; False if it was accepted before."""
    row = {**sent._asdict(), "received_ms": now_ms}
    return tx.connection.execute(_TAKE_TRANSACTION, row).first() is not None


def load_devices_of(connection: Connection, user_ids: Collection[str]) -> dict[str, list[str]]:
    """The device IDs of local users."""
    found: dict[str, list[str]] = {}
    for some in batched_list(user_ids):
        for user_id, device_id in connection.execute(_DEVICES, {"users": some}):
            found.setdefault(user_id, []).append(device_id)
    return found


def store_messages(tx: Transaction, messages: Sequence[NewMessage], now_ms: int, *, most: int = MOST_WAITING) -> int:
    """Put messages into the queues of those devices that exist; how many.

    A message for one device goes before a message for all. Queues longer than `most` lose their oldest messages.
    """
    users = {message.user_id for message in messages}
    known = load_devices_of(tx.connection, users)
    by_device: dict[tuple[str, str], bytes] = {}
    for message in sorted(messages, key=lambda one: one.device_id != ALL_DEVICES):
        for device_id in known.get(message.user_id, ()):
            if message.device_id in {ALL_DEVICES, device_id}:
                by_device[(message.user_id, device_id)] = message.message
    if not by_device:
        return 0
    rows = []
    last: dict[str, int] = {}
    for (user_id, device_id), message_json in by_device.items():
        last[user_id] = tx.next_position()
        row = {"user_id": user_id, "device_id": device_id, "position": last[user_id]}
        rows.append({**row, "message": message_json, "received_ms": now_ms})
    tx.connection.execute(_INSERT, rows)
    _delete_surplus(tx, list(last), most)
    for user_id, position in last.items():
        tx.announce(Change(position, TO_DEVICE, user_ids=(user_id,)))
    return len(rows)


def load_waiting(connection: Connection, user_id: str, device_id: str, after: int, limit: int) -> Waiting:
    """At most `limit` messages after a position, oldest first."""
    values = {"of_user": user_id, "of_device": device_id}
    oldest = connection.execute(_OLDEST, values).scalar()
    if oldest is None:
        return Waiting(False, [])
    rows = connection.execute(_AFTER, {**values, "after": after, "limit": limit})
    return Waiting(oldest <= after, [(position, bytes(message)) for position, message in rows])


def delete_delivered(tx: Transaction, user_id: str, device_id: str, up_to: int) -> None:
    """The device has everything up to a position."""
    tx.connection.execute(_DELIVERED, {"of_user": user_id, "of_device": device_id, "up_to": up_to})


def load_changes(connection: Connection, after: int, up_to: int) -> list[Change]:
    """What was announced in a span of the log, for a process that has to catch up."""
    rows = connection.execute(_CHANGES, {"after": after, "up_to": up_to})
    return [Change(position, TO_DEVICE, user_ids=(user_id,)) for user_id, position in rows]


def delete_messages_of(tx: Transaction, user_id: str, device_ids: Sequence[str]) -> None:
    """Delete what waits for devices, and what is known of their sendings."""
    for statement in _DELETE:
        tx.connection.execute(statement, {"of_user": user_id, "devices": list(device_ids)})


def delete_stale_messages(tx: Transaction, before_ms: int, most: int) -> int:
    """Retention: give up on messages that nobody came for, the oldest first; how many."""
    return tx.connection.execute(_DELETE_STALE, {"before_ms": before_ms, "most": most}).rowcount


def delete_old_transactions(tx: Transaction, before_ms: int) -> int:
    """Retention: forget sendings that nobody repeats any more; how many."""
    return tx.connection.execute(_DELETE_TRANSACTIONS, {"before_ms": before_ms}).rowcount


def _delete_surplus(tx: Transaction, user_ids: Sequence[str], most: int) -> None:
    for some in batched_list(user_ids):
        for user_id, device_id, _ in tx.connection.execute(_COUNTS, {"users": some, "most": most}).all():
            values = {"of_user": user_id, "of_device": device_id}
            newest_surplus = tx.connection.execute(_FIRST_KEPT, {**values, "kept": most}).scalar_one()
            tx.connection.execute(_DELIVERED, {**values, "up_to": newest_surplus})
