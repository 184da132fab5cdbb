"""The identity keys of local devices, and what becomes of everything encryption keeps about a device.

Spec: client-server-api #device-keys
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from sqlalchemy import and_, bindparam, delete, select

from homeserver.storage.cross_signing import delete_device_signatures
from homeserver.storage.dehydrated_devices import delete_dehydrated
from homeserver.storage.device_lists import note_device_list_change
from homeserver.storage.events import batched_list
from homeserver.storage.one_time_keys import delete_one_time_keys
from homeserver.storage.tables.accounts import users
from homeserver.storage.tables.device_keys import device_keys
from homeserver.storage.tables.sessions import devices
from homeserver.storage.to_device import delete_messages_of
from homeserver.storage.upsert import insert_or_update

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.runtime.clock import Clock
    from homeserver.storage.database import Transaction


class DeviceIdentity(NamedTuple):
    """A device's keys as uploaded, and the name its user gave it."""

    keys: dict[str, Any]
    display_name: str | None


_OF_USERS = (
    select(device_keys.c.user_id, device_keys.c.device_id, device_keys.c.content, devices.c.display_name)
    .join(devices, and_(devices.c.user_id == device_keys.c.user_id, devices.c.device_id == device_keys.c.device_id))
    .where(device_keys.c.user_id.in_(bindparam("users", expanding=True)))
)
_ONE = select(device_keys.c.content).where(
    device_keys.c.user_id == bindparam("of_user"), device_keys.c.device_id == bindparam("of_device")
)
_STORE = insert_or_update(device_keys, ["user_id", "device_id"], ["content"])
_DELETE = delete(device_keys).where(
    device_keys.c.user_id == bindparam("of_user"), device_keys.c.device_id.in_(bindparam("devices", expanding=True))
)
_EXISTING = select(users.c.user_id).where(users.c.user_id.in_(bindparam("users", expanding=True)))


def load_device_keys(connection: Connection, user_ids: Collection[str]) -> dict[str, dict[str, DeviceIdentity]]:
    """The keys of local users' devices by user ID and device ID; users without an account are not in it."""
    found: dict[str, dict[str, DeviceIdentity]] = {}
    for some in batched_list(user_ids):
        for user_id in connection.execute(_EXISTING, {"users": some}).scalars():
            found[user_id] = {}
        for user_id, device_id, keys, name in connection.execute(_OF_USERS, {"users": some}):
            found.setdefault(user_id, {})[device_id] = DeviceIdentity(orjson.loads(keys), name)
    return found


def find_device_keys(connection: Connection, user_id: str, device_id: str) -> dict[str, Any] | None:
    """The keys of one device as uploaded."""
    keys = connection.execute(_ONE, {"of_user": user_id, "of_device": device_id}).scalar()
    return None if keys is None else dict(orjson.loads(keys))


def store_device_keys(tx: Transaction, user_id: str, device_id: str, keys: Mapping[str, Any], now_ms: int) -> bool:
    """Store a device's keys; False if they are the ones it has. Signatures on other keys of the device go."""
    old = find_device_keys(tx.connection, user_id, device_id)
    if old == keys:
        return False
    if old is not None and old.get("keys") != keys.get("keys"):
        delete_device_signatures(tx, user_id, [device_id])
    row = {"user_id": user_id, "device_id": device_id, "content": orjson.dumps(dict(keys))}
    tx.connection.execute(_STORE, row)
    note_device_list_change(tx, user_id, [device_id], now_ms)
    return True


def delete_device_data(tx: Transaction, user_id: str, device_ids: Sequence[str]) -> None:
    """Delete all that encryption keeps about devices: keys, signatures, messages waiting for them."""
    tx.connection.execute(_DELETE, {"of_user": user_id, "devices": list(device_ids)})
    delete_one_time_keys(tx, user_id, device_ids)
    delete_device_signatures(tx, user_id, device_ids)
    delete_messages_of(tx, user_id, device_ids)
    delete_dehydrated(tx, user_id, device_ids)


class EncryptionRows:
    """Implements `homeserver.storage.devices.DeviceRows`: what encryption writes when devices come and go."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def device_changed(self, tx: Transaction, user_id: str, device_id: str) -> None:
        """The device is new, or has another display name, which others see beside its keys."""
        note_device_list_change(tx, user_id, [device_id], self._clock.now_ms())

    def devices_deleted(self, tx: Transaction, user_id: str, device_ids: Sequence[str]) -> None:
        """The devices are gone."""
        delete_device_data(tx, user_id, device_ids)
        note_device_list_change(tx, user_id, device_ids, self._clock.now_ms())
