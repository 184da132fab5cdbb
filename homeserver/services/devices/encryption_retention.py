"""Forgets what encryption needs no more: messages nobody came for, old transaction ids, old changes of device lists.

To be run every hour or so; each step is a transaction of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from homeserver.storage.cross_signing import delete_cross_signing_of
from homeserver.storage.device_lists import delete_old_changes
from homeserver.storage.key_backups import delete_backups_of
from homeserver.storage.to_device import delete_old_transactions, delete_stale_messages

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.storage.accounts import User
    from homeserver.storage.database import Database, Transaction
    from homeserver_config.sections.retention import RetentionSettings

_AT_ONCE = 1000


class EncryptionRetention:
    """`run` does one round. Implements the accounts' `AccountObserver` as well, for accounts that are closed."""

    def __init__(self, settings: RetentionSettings, database: Database, clock: Clock) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock

    async def run(self) -> None:
        now_ms, settings, database = self._clock.now_ms(), self._settings, self._database
        await database.write(delete_old_transactions, now_ms - settings.transaction_ids)
        await database.write(delete_old_changes, now_ms - settings.device_list_changes)
        before_ms = now_ms - settings.to_device
        while await database.write(delete_stale_messages, before_ms, _AT_ONCE) == _AT_ONCE:
            pass

    async def account_created(self, user: User) -> None:
        """A new account has no keys yet."""

    async def account_deactivated(self, user_id: str, erase: bool) -> None:
        """Nobody signs with these keys any more; the backups go when the user wants to be forgotten."""
        await self._database.write(_delete_for_user, user_id, erase)


def _delete_for_user(tx: Transaction, user_id: str, erase: bool) -> None:
    delete_cross_signing_of(tx, user_id)
    if erase:
        delete_backups_of(tx, user_id)
