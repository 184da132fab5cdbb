"""The device list of a local user: shown, renamed, and ended.

Spec: client-server-api #device-management
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from homeserver.protocol.errors import not_found
from homeserver.services.accounts.sessions import check_display_name
from homeserver.storage import devices as device_rows
from homeserver.storage.devices import Device

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.services.accounts.tokens import Tokens
    from homeserver.storage.database import Database, Transaction
    from homeserver.storage.devices import DeviceRows

__all__ = ["Device", "Devices"]


class Devices:
    """`rows` are the other subjects' rows about devices, changed in the same transaction."""

    def __init__(self, database: Database, clock: Clock, tokens: Tokens, rows: Sequence[DeviceRows] = ()) -> None:
        self._database = database
        self._clock = clock
        self._tokens = tokens
        self._rows = rows

    async def list_of(self, user_id: str) -> list[Device]:
        """All devices of a user, oldest first; last seen may be some minutes out of date."""
        return await self._database.read(device_rows.load_devices, user_id)

    async def get(self, user_id: str, device_id: str) -> Device:
        """One device; M_NOT_FOUND."""
        device = await self._database.read(device_rows.find_device, user_id, device_id)
        if device is None:
            raise not_found("There is no such device.")
        return device

    async def rename(self, user_id: str, device_id: str, display_name: str) -> None:
        """Give a device another name; M_NOT_FOUND, M_INVALID_PARAM."""
        check_display_name(display_name)
        if not await self._database.write(device_rows.rename_device, user_id, device_id, display_name, self._rows):
            raise not_found("There is no such device.")

    async def create_or_rename(self, user_id: str, device_id: str, display_name: str | None) -> bool:
        """For application services: True if the device was created."""
        check_display_name(display_name)
        device = Device(device_id, display_name, self._clock.now_ms(), None, None, None)
        return await self._database.write(_create_or_rename, user_id, device, self._rows)

    async def delete(self, user_id: str, device_ids: Sequence[str]) -> None:
        """End devices and log them out; those that do not exist are passed over."""
        await self._database.write(device_rows.delete_devices, user_id, device_ids, self._rows)
        self._tokens.forget_user(user_id)


def _create_or_rename(tx: Transaction, user_id: str, device: Device, rows: Sequence[DeviceRows]) -> bool:
    if device_rows.create_device(tx, user_id, device, rows):
        return True
    if device.display_name is not None:
        device_rows.rename_device(tx, user_id, device.device_id, device.display_name, rows)
    return False
