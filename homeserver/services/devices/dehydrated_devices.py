"""A device that nobody holds, and that is sent messages and keys until its owner logs in again and wakes it.

It is uploaded whole, in one transaction: nobody sees it without its keys.

Spec: MSC3814
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from homeserver.protocol.errors import bad_json, forbidden, invalid_param, not_found, too_large
from homeserver.services.accounts.sessions import check_display_name
from homeserver.services.devices.device_keys import KeyUpload, check_upload, store_upload
from homeserver.storage import devices
from homeserver.storage.dehydrated_devices import DehydratedDevice, find_dehydrated, store_dehydrated
from homeserver.storage.devices import Device
from homeserver.storage.to_device import load_waiting

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.runtime.clock import Clock
    from homeserver.storage.database import Database, Transaction
    from homeserver.storage.devices import DeviceRows

_MOST_BYTES = 262_144
_LONGEST_ID = 255
MOST_EVENTS = 100


class DehydratedDevices:
    """`rows` are the other subjects' rows about devices, changed in the same transaction."""

    def __init__(self, database: Database, clock: Clock, rows: Sequence[DeviceRows]) -> None:
        self._database = database
        self._clock = clock
        self._rows = rows

    async def put(
        self, user_id: str, device_id: str, device_data: dict[str, Any], name: str | None, keys: KeyUpload
    ) -> None:
        """Store a dehydrated device in the place of the one the user has. M_INVALID_PARAM, M_BAD_JSON, M_TOO_LARGE."""
        if not isinstance(device_data.get("algorithm"), str):
            raise bad_json("`device_data` needs an `algorithm`.")
        if len(orjson.dumps(device_data)) > _MOST_BYTES:
            raise too_large(f"`device_data` may have at most {_MOST_BYTES} bytes.")
        if not 0 < len(device_id) <= _LONGEST_ID or "\x00" in device_id:
            raise invalid_param(f"The ID of a device has 1 to {_LONGEST_ID} characters.")
        check_display_name(name)
        check_upload(user_id, device_id, keys)
        device = Device(device_id, name, self._clock.now_ms(), None, None, None)
        await self._database.write(_replace, user_id, device, device_data, keys, self._rows)

    async def get(self, user_id: str) -> DehydratedDevice:
        """The user's dehydrated device. M_NOT_FOUND."""
        found = await self._database.read(find_dehydrated, user_id)
        if found is None:
            raise _none()
        return found

    async def delete(self, user_id: str) -> str:
        """Delete it with its keys and messages, and return its id. M_NOT_FOUND."""
        device_id = await self._database.write(_delete, user_id, self._rows)
        if device_id is None:
            raise _none()
        return device_id

    async def events(self, user_id: str, device_id: str, after: int) -> tuple[list[orjson.Fragment], int, bool]:
        """Messages to it after a position, the position reached, and whether there are more. They stay: whoever wakes
        the device may have to begin again. M_FORBIDDEN for any other device.
        """
        return await self._database.read(_load_events, user_id, device_id, after)


def _replace(
    tx: Transaction,
    user_id: str,
    device: Device,
    device_data: Mapping[str, Any],
    keys: KeyUpload,
    rows: Sequence[DeviceRows],
) -> None:
    _delete(tx, user_id, rows)
    if not devices.create_device(tx, user_id, device, rows):
        raise invalid_param("There is a device of this ID that is not dehydrated.")
    store_upload(tx, user_id, device.device_id, keys, device.created_ms)
    store_dehydrated(tx, user_id, device.device_id, device_data)


def _delete(tx: Transaction, user_id: str, rows: Sequence[DeviceRows]) -> str | None:
    found = find_dehydrated(tx.connection, user_id)
    if found is None:
        return None
    devices.delete_devices(tx, user_id, [found.device_id], rows)
    return found.device_id


def _load_events(
    connection: Connection, user_id: str, device_id: str, after: int
) -> tuple[list[orjson.Fragment], int, bool]:
    found = find_dehydrated(connection, user_id)
    if found is None or found.device_id != device_id:
        raise forbidden("This is not your dehydrated device.")
    messages = load_waiting(connection, user_id, device_id, after, MOST_EVENTS + 1).messages
    shown = messages[:MOST_EVENTS]
    reached = shown[-1][0] if shown else after
    return [orjson.Fragment(message) for _, message in shown], reached, len(messages) > MOST_EVENTS


def _none() -> Exception:
    return not_found("You have no dehydrated device.")
