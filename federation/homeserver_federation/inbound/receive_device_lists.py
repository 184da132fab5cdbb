"""What other servers tell of their users' devices and keys: that they changed.

Nothing of it is kept but that: keys are asked for when somebody needs them, so that no update can be missed for good.

Spec: server-server-api #device-management
"""

from __future__ import annotations

from homeserver.protocol.edus import DeviceListUpdate, SigningKeyUpdate
from homeserver.runtime.clock import Clock
from homeserver.storage.database import Database
from homeserver.storage.device_lists import CROSS_SIGNING, note_device_list_change
from homeserver.storage.memberships import is_joined_anywhere

_LONGEST_DEVICE_ID = 255


class ReceiveDeviceLists:
    """Notes changes, for the clients of those who share rooms with the user."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def receive_device_list_update(self, update: DeviceListUpdate) -> None:
        """A device was added, changed or deleted."""
        if update.device_id and len(update.device_id) <= _LONGEST_DEVICE_ID and "\x00" not in update.device_id:
            await self._note(update.user_id, update.device_id)

    async def receive_signing_key_update(self, update: SigningKeyUpdate) -> None:
        """The cross-signing keys changed."""
        await self._note(update.user_id, CROSS_SIGNING)

    async def _note(self, user_id: str, device_id: str) -> None:
        # Only of users somebody here may have to do with, lest other servers fill the table.
        if await self._database.read(is_joined_anywhere, user_id):
            await self._database.write(note_device_list_change, user_id, [device_id], self._clock.now_ms())
