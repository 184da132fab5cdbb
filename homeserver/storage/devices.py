"""The devices of local users: what `GET /devices` shows, and their end.

Other subjects keep rows about a device (keys, messages to it, pushers); `DeviceRows` is how they go with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import bindparam, delete, select, update

from homeserver.storage import access_tokens
from homeserver.storage.tables.sessions import devices
from homeserver.storage.upsert import insert_or_ignore

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction


class DeviceRows(Protocol):
    """Another subject's rows about devices, changed in the transaction that changes the device. SQL only."""

    def device_changed(self, tx: Transaction, user_id: str, device_id: str) -> None:
        """The device is new, or has another display name."""

    def devices_deleted(self, tx: Transaction, user_id: str, device_ids: Sequence[str]) -> None:
        """The devices are gone."""


@dataclass(frozen=True, slots=True)
class Device:
    """One device of a user."""

    device_id: str
    display_name: str | None
    created_ms: int
    last_seen_ms: int | None
    last_seen_ip: str | None
    user_agent: str | None


@dataclass(frozen=True, slots=True)
class LastSeen:
    """Where and when a device was last used."""

    user_id: str
    device_id: str
    last_seen_ms: int
    last_seen_ip: str
    user_agent: str


_COLUMNS = (
    devices.c.device_id,
    devices.c.display_name,
    devices.c.created_ms,
    devices.c.last_seen_ms,
    devices.c.last_seen_ip,
    devices.c.user_agent,
)
_OF_USER = devices.c.user_id == bindparam("of_user")
_ONE = devices.c.device_id == bindparam("wanted")
_SOME = devices.c.device_id.in_(bindparam("wanted", expanding=True))
_SELECT_ALL = select(*_COLUMNS).where(_OF_USER).order_by(devices.c.created_ms, devices.c.device_id)
_SELECT_ONE = select(*_COLUMNS).where(_OF_USER, _ONE)
_SELECT_SOME_IDS = select(devices.c.device_id).where(_OF_USER, _SOME)
_SELECT_IDS = select(devices.c.device_id).where(_OF_USER)
_SELECT_STALE = (
    select(devices.c.user_id, devices.c.device_id)
    .where(devices.c.last_seen_ms < bindparam("before_ms"))
    .order_by(devices.c.last_seen_ms)
    .limit(bindparam("most"))
)
_INSERT = insert_or_ignore(devices, ["user_id", "device_id"]).returning(devices.c.device_id)
_RENAME = update(devices).where(_OF_USER, _ONE).values(display_name=bindparam("new_name"))
_SEEN = (
    update(devices)
    .where(_OF_USER, _ONE)
    .values(last_seen_ms=bindparam("ms"), last_seen_ip=bindparam("ip"), user_agent=bindparam("agent"))
)
_DELETE = delete(devices).where(_OF_USER, _SOME)


def load_devices(connection: Connection, user_id: str) -> list[Device]:
    """All devices of a user, oldest first."""
    return [Device(*row) for row in connection.execute(_SELECT_ALL, {"of_user": user_id})]


def find_device(connection: Connection, user_id: str, device_id: str) -> Device | None:
    row = connection.execute(_SELECT_ONE, {"of_user": user_id, "wanted": device_id}).first()
    return None if row is None else Device(*row)


def load_device_ids(connection: Connection, user_id: str) -> list[str]:
    return [device_id for (device_id,) in connection.execute(_SELECT_IDS, {"of_user": user_id})]


def load_stale(connection: Connection, before_ms: int, most: int) -> list[tuple[str, str]]:
    """(user ID, device ID) of devices not seen since `before_ms`, the longest unseen first."""
    rows = connection.execute(_SELECT_STALE, {"before_ms": before_ms, "most": most})
    return [(user_id, device_id) for user_id, device_id in rows]


def create_device(tx: Transaction, user_id: str, device: Device, rows: Iterable[DeviceRows]) -> bool:
    """Insert a device; False, and nothing changed, if the user has one with this ID."""
    values = {column.name: getattr(device, column.name) for column in _COLUMNS}
    if tx.connection.execute(_INSERT, {"user_id": user_id, **values}).first() is None:
        return False
    for others in rows:
        others.device_changed(tx, user_id, device.device_id)
    return True


def rename_device(tx: Transaction, user_id: str, device_id: str, name: str | None, rows: Iterable[DeviceRows]) -> bool:
    """Give a device another display name; False if there is no such device."""
    parameters = {"of_user": user_id, "wanted": device_id, "new_name": name}
    if tx.connection.execute(_RENAME, parameters).rowcount != 1:
        return False
    for others in rows:
        others.device_changed(tx, user_id, device_id)
    return True


def record_seen(tx: Transaction, seen: Sequence[LastSeen]) -> None:
    """Store where devices were last used; devices that are gone are passed over."""
    parameters = [
        {
            "of_user": one.user_id,
            "wanted": one.device_id,
            "ms": one.last_seen_ms,
            "ip": one.last_seen_ip,
            "agent": one.user_agent,
        }
        for one in seen
    ]
    if parameters:
        tx.connection.execute(_SEEN, parameters)


def delete_devices(tx: Transaction, user_id: str, device_ids: Sequence[str], rows: Iterable[DeviceRows]) -> list[str]:
    """End devices with their tokens and all that other subjects keep about them; the IDs that existed."""
    if not device_ids:
        return []
    parameters = {"of_user": user_id, "wanted": list(device_ids)}
    known = [device_id for (device_id,) in tx.connection.execute(_SELECT_SOME_IDS, parameters)]
    access_tokens.delete_for_devices(tx, user_id, device_ids)
    if not known:
        return []
    tx.connection.execute(_DELETE, {"of_user": user_id, "wanted": known})
    for others in rows:
        others.devices_deleted(tx, user_id, known)
    return known


def delete_all_devices(
    tx: Transaction, user_id: str, rows: Iterable[DeviceRows], *, keep: str | None = None
) -> list[str]:
    """End all devices of a user, and tokens without a device, except device `keep`; the IDs of those ended."""
    gone = [device_id for device_id in load_device_ids(tx.connection, user_id) if device_id != keep]
    delete_devices(tx, user_id, gone, rows)
    access_tokens.delete_for_user(tx, user_id, keep=keep)
    return gone
