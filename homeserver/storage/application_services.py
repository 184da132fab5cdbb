"""Application services registered at run time, and the transaction under way to each service.

A transaction is stored before it is sent: after a crash the same one is sent again, unchanged and under the same ID.

Spec: application-service-api #pushing-events
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import orjson
from sqlalchemy import bindparam, delete, select, update

from homeserver.storage.followers import forget_follower, open_follower, store_follower_position
from homeserver.storage.network_rooms import delete_networks_of
from homeserver.storage.tables.application_services import application_service_queues, application_services
from homeserver.storage.tables.rooms import memberships, rooms
from homeserver.storage.tables.to_device import to_device_messages
from homeserver.storage.to_device import delete_delivered
from homeserver.storage.upsert import insert_or_ignore, insert_or_update

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction


class QueuedTransaction(NamedTuple):
    """A transaction as it is sent. `position` is where the service stands in the log once it has it.

    `devices` are (user ID, device ID, position): messages to devices that are done with then.
    """

    transaction_id: str
    position: int
    body: bytes
    devices: Sequence[tuple[str, str, int]] = ()


class BackOff(NamedTuple):
    """A service that cannot be reached: since when, the present pause, and when to try again."""

    failing_since_ms: int
    pause_ms: int
    retry_at_ms: int


class Queue(NamedTuple):
    """How a service stands."""

    position: int
    transaction: QueuedTransaction | None
    back_off: BackOff | None


_queues = application_service_queues
_THIS = _queues.c.appservice_id == bindparam("of_appservice")
_LOAD_ALL = select(application_services.c.appservice_id, application_services.c.registration).order_by(
    application_services.c.created_ms, application_services.c.appservice_id
)
_STORE = insert_or_update(application_services, ["appservice_id"], ["registration"])
_DELETE = delete(application_services).where(application_services.c.appservice_id == bindparam("of_appservice"))
_DELETE_QUEUE = delete(_queues).where(_THIS)
_OPEN = insert_or_ignore(_queues, ["appservice_id"])
_QUEUE = select(
    _queues.c.transaction_id,
    _queues.c.transaction_position,
    _queues.c.transaction_body,
    _queues.c.transaction_devices,
    _queues.c.failing_since_ms,
    _queues.c.pause_ms,
    _queues.c.retry_at_ms,
).where(_THIS)
_PLAN = (
    update(_queues)
    .where(_THIS)
    .values(
        transaction_id=bindparam("new_id"),
        transaction_position=bindparam("new_position"),
        transaction_body=bindparam("new_body"),
        transaction_devices=bindparam("new_devices"),
    )
)
_SET_BACK_OFF = (
    update(_queues)
    .where(_THIS)
    .values(
        failing_since_ms=bindparam("new_since"), pause_ms=bindparam("new_pause"), retry_at_ms=bindparam("new_retry")
    )
)
_DEPARTED = (
    select(memberships.c.user_id)
    .join(rooms, rooms.c.nid == memberships.c.room_nid)
    .where(
        rooms.c.room_id == bindparam("of_room"),
        memberships.c.local.is_(True),
        memberships.c.membership != "join",
        memberships.c.position > bindparam("after"),
    )
)
_WAITED_FOR = select(to_device_messages.c.user_id).distinct()


def load_registrations(connection: Connection) -> dict[str, bytes]:
    """The registrations made at run time, JSON by ID, oldest first."""
    return {appservice_id: bytes(registration) for appservice_id, registration in connection.execute(_LOAD_ALL)}


def store_registration(tx: Transaction, appservice_id: str, registration: bytes, now_ms: int) -> None:
    """Keep a registration, in place of an older one of the same ID."""
    row = {"appservice_id": appservice_id, "registration": registration, "created_ms": now_ms}
    tx.connection.execute(_STORE, row)


def delete_registration(tx: Transaction, appservice_id: str) -> bool:
    """Forget a registration and how its service stood; False if there was none."""
    values = {"of_appservice": appservice_id}
    if tx.connection.execute(_DELETE, values).rowcount == 0:
        return False
    tx.connection.execute(_DELETE_QUEUE, values)
    forget_follower(tx, _follower(appservice_id))
    delete_networks_of(tx, appservice_id)
    return True


def open_queue(tx: Transaction, appservice_id: str) -> Queue:
    """How a service stands; one that is new begins where the log is."""
    position = open_follower(tx, _follower(appservice_id))
    tx.connection.execute(_OPEN, {"appservice_id": appservice_id})
    row = tx.connection.execute(_QUEUE, {"of_appservice": appservice_id}).one()
    transaction = None
    if row.transaction_id is not None:
        devices = [(user, device, up_to) for user, device, up_to in orjson.loads(row.transaction_devices)]
        transaction = QueuedTransaction(
            row.transaction_id, row.transaction_position, bytes(row.transaction_body), devices
        )
    back_off = None if row.retry_at_ms is None else BackOff(row.failing_since_ms, row.pause_ms, row.retry_at_ms)
    return Queue(position, transaction, back_off)


def plan_transaction(tx: Transaction, appservice_id: str, planned: QueuedTransaction) -> None:
    """Keep a transaction until the service has it."""
    values = {
        "of_appservice": appservice_id,
        "new_id": planned.transaction_id,
        "new_position": planned.position,
        "new_body": planned.body,
        "new_devices": orjson.dumps(planned.devices),
    }
    tx.connection.execute(_PLAN, values)


def finish_transaction(tx: Transaction, appservice_id: str, done: QueuedTransaction) -> None:
    """The service has it: go on behind it."""
    values = {"of_appservice": appservice_id, "new_id": None, "new_position": None, "new_body": None}
    tx.connection.execute(_PLAN, {**values, "new_devices": None})
    set_back_off(tx, appservice_id, None)
    store_position(tx, appservice_id, done.position)
    for user_id, device_id, up_to in done.devices:
        delete_delivered(tx, user_id, device_id, up_to)


def set_back_off(tx: Transaction, appservice_id: str, back_off: BackOff | None) -> None:
    """Note when a service that cannot be reached is tried again; None: it can be reached."""
    since, pause, retry = (None, None, None) if back_off is None else back_off
    values = {"of_appservice": appservice_id, "new_since": since, "new_pause": pause, "new_retry": retry}
    tx.connection.execute(_SET_BACK_OFF, values)


def store_position(tx: Transaction, appservice_id: str, position: int) -> None:
    """There was nothing for the service up to a position."""
    store_follower_position(tx, _follower(appservice_id), position)


def load_departed(connection: Connection, room_id: str, after: int) -> list[str]:
    """Local users who are not in a room but may have been at a position."""
    return list(connection.execute(_DEPARTED, {"of_room": room_id, "after": after}).scalars())


def load_waited_for(connection: Connection) -> list[str]:
    """The users for whose devices messages wait."""
    return list(connection.execute(_WAITED_FOR).scalars())


def _follower(appservice_id: str) -> str:
    return f"application_service {appservice_id}"
