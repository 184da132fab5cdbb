"""Which device of a user is dehydrated, and what its owner needs to wake it.

Spec: MSC3814
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from sqlalchemy import bindparam, delete, select

from homeserver.storage.tables.dehydrated_devices import dehydrated_devices as table
from homeserver.storage.upsert import insert_or_update

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction


class DehydratedDevice(NamedTuple):
    """`device_data` is what the client has stored, opaque but for its `algorithm`."""

    device_id: str
    device_data: dict[str, Any]


_FIND = select(table.c.device_id, table.c.device_data).where(table.c.user_id == bindparam("of_user"))
_STORE = insert_or_update(table, ["user_id"], ["device_id", "device_data"])
_DELETE = delete(table).where(
    table.c.user_id == bindparam("of_user"), table.c.device_id.in_(bindparam("devices", expanding=True))
)


def find_dehydrated(connection: Connection, user_id: str) -> DehydratedDevice | None:
    row = connection.execute(_FIND, {"of_user": user_id}).first()
    return None if row is None else DehydratedDevice(row[0], orjson.loads(row[1]))


def store_dehydrated(tx: Transaction, user_id: str, device_id: str, device_data: Mapping[str, Any]) -> None:
    row = {"user_id": user_id, "device_id": device_id, "device_data": orjson.dumps(dict(device_data))}
    tx.connection.execute(_STORE, row)


def delete_dehydrated(tx: Transaction, user_id: str, device_ids: Sequence[str]) -> None:
    """Forget it if it is among some devices."""
    tx.connection.execute(_DELETE, {"of_user": user_id, "devices": list(device_ids)})
