"""Forgets what no session and no user needs any more: dead tokens, expired auth sessions, idle guests.

To be run every hour or so; each step is a transaction of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from homeserver.storage import access_tokens, accounts, devices, filters, login_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from homeserver.runtime.clock import Clock
    from homeserver.services.accounts.accounts import Accounts
    from homeserver.services.accounts.tokens import Tokens
    from homeserver.services.accounts.user_interactive_auth import UserInteractiveAuth
    from homeserver.storage.database import Database
    from homeserver.storage.devices import DeviceRows

_DAY_MS = 86_400_000
_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class AccountLifetimes:
    """How long things are kept unused, in milliseconds; None: for ever."""

    replaced_tokens_ms: int = _DAY_MS
    filters_ms: int = 365 * _DAY_MS
    guests_ms: int = 30 * _DAY_MS
    devices_ms: int | None = None


class AccountRetention:
    """`run` does one round."""

    def __init__(
        self,
        lifetimes: AccountLifetimes,
        database: Database,
        clock: Clock,
        tokens: Tokens,
        accounts: Accounts,
        interactive_auth: UserInteractiveAuth,
        device_rows: Sequence[DeviceRows] = (),
    ) -> None:
        self._lifetimes = lifetimes
        self._database = database
        self._clock = clock
        self._tokens = tokens
        self._accounts = accounts
        self._interactive_auth = interactive_auth
        self._device_rows = device_rows

    async def run(self) -> None:
        now_ms = self._clock.now_ms()
        await self._interactive_auth.forget_expired()
        await self._database.write(login_tokens.delete_expired, now_ms)
        await self._database.write(access_tokens.delete_old, now_ms - self._lifetimes.replaced_tokens_ms)
        await self._database.write(filters.delete_unused, now_ms - self._lifetimes.filters_ms)
        await self._close_idle_guests(now_ms - self._lifetimes.guests_ms)
        if self._lifetimes.devices_ms is not None:
            await self._end_stale_devices(now_ms - self._lifetimes.devices_ms)

    async def _close_idle_guests(self, before_ms: int) -> None:
        for user_id in await self._database.read(accounts.load_idle_guests, before_ms, _AT_ONCE):
            await self._accounts.deactivate(user_id, erase=True)

    async def _end_stale_devices(self, before_ms: int) -> None:
        for user_id, device_id in await self._database.read(devices.load_stale, before_ms, _AT_ONCE):
            await self._database.write(devices.delete_devices, user_id, [device_id], self._device_rows)
            self._tokens.forget_user(user_id)
