"""Opens, changes and closes accounts.

Every change of an account's standing goes through here, so that no cached token outlives it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from homeserver.protocol.errors import not_found, user_in_use
from homeserver.services.accounts.user_ids import check_localpart, user_id_of
from homeserver.storage import (
    access_tokens,
    account_data,
    accounts,
    browser_sessions,
    devices,
    filters,
    login_tokens,
    profiles,
    third_party_ids,
)
from homeserver.storage import push_rules as push_rule_rows
from homeserver.storage.accounts import User
from homeserver.storage.profiles import Profile

if TYPE_CHECKING:
    from homeserver.runtime.background import BackgroundTasks
    from homeserver.runtime.clock import Clock
    from homeserver.services.accounts.passwords import Passwords
    from homeserver.services.accounts.ports import AccountObserver, RoomDeparture
    from homeserver.services.accounts.tokens import Tokens
    from homeserver.services.profiles import Profiles
    from homeserver.services.push_rules import PushRules
    from homeserver.storage.database import Database, Transaction
    from homeserver.storage.devices import DeviceRows

__all__ = ["Accounts", "AlsoWrite", "User"]

AlsoWrite = Callable[["Transaction"], None]
"""Further SQL in the transaction that opens an account. It may raise, which undoes everything."""


class Accounts:
    """The accounts of this server. Call `resume_departures` once at start."""

    def __init__(
        self,
        server_name: str,
        database: Database,
        clock: Clock,
        background: BackgroundTasks,
        tokens: Tokens,
        passwords: Passwords,
        profiles: Profiles,
        push_rules: PushRules,
        departure: RoomDeparture,
        device_rows: Sequence[DeviceRows] = (),
        observers: Sequence[AccountObserver] = (),
    ) -> None:
        self._server_name = server_name
        self._database = database
        self._clock = clock
        self._background = background
        self._tokens = tokens
        self._passwords = passwords
        self._profiles = profiles
        self._push_rules = push_rules
        self._departure = departure
        self._device_rows = device_rows
        self._observers = observers

    async def find(self, user_id: str) -> User | None:
        """The account, deactivated ones included."""
        return await self._database.read(accounts.find_user, user_id)

    async def get_active(self, user_id: str) -> User:
        """The account; M_NOT_FOUND if there is none or it is deactivated."""
        user = await self.find(user_id)
        if user is None or user.deactivated:
            raise not_found("There is no such account.")
        return user

    async def create(
        self,
        username: str,
        *,
        password: str | None = None,
        kind: str = "user",
        admin: bool = False,
        appservice_id: str | None = None,
        displayname: str | None = None,
        also: Sequence[AlsoWrite] = (),
    ) -> User:
        """Open an account. The display name is the localpart unless given; guests have none.

        M_INVALID_USERNAME, M_USER_IN_USE, M_WEAK_PASSWORD.
        """
        localpart = check_localpart(username, self._server_name)
        password_hash = None
        if password is not None:
            self._passwords.check_policy(password)
            password_hash = await self._passwords.hash(password)
        user = User(
            user_id_of(localpart, self._server_name),
            kind,
            self._clock.now_ms(),
            admin=admin,
            password_hash=password_hash,
            appservice_id=appservice_id,
        )
        if displayname is None and kind != "guest":
            displayname = localpart
        return await self.open(user, Profile(displayname), also)

    async def open(self, user: User, profile: Profile, also: Sequence[AlsoWrite] = ()) -> User:
        """Open an account whose parts are checked already; M_USER_IN_USE."""
        await self._database.write(_open, user, profile, also)
        self._profiles.forget(user.user_id)
        for observer in self._observers:
            await observer.account_created(user)
        return user

    async def upgrade_guest(self, user_id: str, password_hash: str | None, also: Sequence[AlsoWrite] = ()) -> None:
        """Make a guest an ordinary user and end what the guest was logged in with; M_NOT_FOUND without such a guest."""
        await self._database.write(_upgrade_guest, user_id, password_hash, self._device_rows, also)
        self._tokens.forget_user(user_id)

    async def set_password(self, user_id: str, password: str, *, log_out: bool, keep_device: str | None = None) -> None:
        """Change the password; with `log_out` every device but `keep_device` is ended. M_WEAK_PASSWORD."""
        self._passwords.check_policy(password)
        password_hash = await self._passwords.hash(password)
        rows = self._device_rows
        await self._database.write(_set_password, user_id, password_hash, log_out, keep_device, rows)
        self._tokens.forget_user(user_id)

    async def set_admin(self, user_id: str, admin: bool) -> None:
        """M_NOT_FOUND without such an account, as all of the following."""
        await self._change(accounts.set_admin, user_id, admin)

    async def set_locked(self, user_id: str, locked: bool) -> None:
        await self._change(accounts.set_locked, user_id, locked)

    async def set_suspended(self, user_id: str, suspended: bool) -> None:
        await self._change(accounts.set_suspended, user_id, suspended)

    async def set_rate_limit_exempt(self, user_id: str, exempt: bool) -> None:
        await self._change(accounts.set_rate_limit_exempt, user_id, exempt)

    async def set_kind(self, user_id: str, kind: str) -> None:
        if not await self._database.write(accounts.set_kind, user_id, kind):
            raise not_found("There is no such account.")
        self._tokens.forget_user(user_id)

    async def deactivate(self, user_id: str, *, erase: bool = False) -> None:
        """Close an account for good: log out everywhere, then leave all rooms in the background.

        With `erase` the user's own data goes as well; their events stay, marked for redacted delivery.
        """
        if not await self._database.write(_deactivate, user_id, erase, self._device_rows):
            return
        self._tokens.forget_user(user_id)
        self._profiles.forget(user_id)
        self._push_rules.forget(user_id)
        self._background.start(f"departure of {user_id}", self._leave_rooms(user_id))
        for observer in self._observers:
            await observer.account_deactivated(user_id, erase)

    async def reactivate(self, user_id: str, password: str | None) -> None:
        """Open a closed account again, for administrators; M_NOT_FOUND if there is no closed one."""
        password_hash = None
        if password is not None:
            self._passwords.check_policy(password)
            password_hash = await self._passwords.hash(password)
        if not await self._database.write(accounts.reactivate, user_id, password_hash):
            raise not_found("There is no such deactivated account.")
        self._tokens.forget_user(user_id)

    async def resume_departures(self) -> None:
        """Go on leaving the rooms of accounts that were deactivated when the server stopped."""
        for user_id in await self._database.read(accounts.load_leaving):
            self._background.start(f"departure of {user_id}", self._leave_rooms(user_id))

    async def _leave_rooms(self, user_id: str) -> None:
        await self._departure.leave_all_rooms(user_id)
        await self._database.write(accounts.finish_departure, user_id)

    async def _change(self, change: Callable[[Transaction, str, bool], bool], user_id: str, value: bool) -> None:
        if not await self._database.write(change, user_id, value):
            raise not_found("There is no such account.")
        self._tokens.forget_user(user_id)


def _open(tx: Transaction, user: User, profile: Profile, also: Sequence[AlsoWrite]) -> None:
    if not accounts.create_user(tx, user):
        raise user_in_use("This user name is taken.")
    profiles.store_profile(tx, user.user_id, profile)
    for write in also:
        write(tx)


def _upgrade_guest(
    tx: Transaction,
    user_id: str,
    password_hash: str | None,
    rows: Sequence[DeviceRows],
    also: Sequence[AlsoWrite],
) -> None:
    if not accounts.upgrade_guest(tx, user_id, password_hash):
        raise not_found("There is no such guest.")
    devices.delete_all_devices(tx, user_id, rows)
    old = profiles.find_profile(tx.connection, user_id) or Profile()
    if old.displayname is None:
        profiles.store_profile(tx, user_id, replace(old, displayname=user_id[1:].partition(":")[0]))
    for write in also:
        write(tx)


def _set_password(
    tx: Transaction,
    user_id: str,
    password_hash: str,
    log_out: bool,
    keep_device: str | None,
    rows: Sequence[DeviceRows],
) -> None:
    accounts.set_password_hash(tx, user_id, password_hash)
    login_tokens.delete_for_user(tx, user_id)
    browser_sessions.delete_for_user(tx, user_id)
    if log_out:
        devices.delete_all_devices(tx, user_id, rows, keep=keep_device)


def _deactivate(tx: Transaction, user_id: str, erase: bool, rows: Sequence[DeviceRows]) -> bool:
    if not accounts.deactivate(tx, user_id, erase):
        return False
    devices.delete_all_devices(tx, user_id, rows)
    access_tokens.delete_for_user(tx, user_id)
    login_tokens.delete_for_user(tx, user_id)
    browser_sessions.delete_for_user(tx, user_id)
    filters.delete_for_user(tx, user_id)
    third_party_ids.delete_of_user(tx, user_id)
    if erase:
        profiles.store_profile(tx, user_id, Profile())
        account_data.delete_for_user(tx, user_id)
        push_rule_rows.delete_for_user(tx, user_id)
    return True
