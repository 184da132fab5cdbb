"""Checks a user's password, for `POST /login` and for the password stage alike.

Failures are counted by account and by address, so that neither one account nor one attacker gets many guesses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from homeserver.protocol.errors import forbidden
from homeserver.storage import accounts

if TYPE_CHECKING:
    from homeserver.services.accounts.passwords import Passwords
    from homeserver.services.rate_limiter import RateLimits
    from homeserver.storage.accounts import User
    from homeserver.storage.database import Database

_FAILURES = "login_failed"


class PasswordCheck:
    """One user ID (or two spellings of it) and one password in, the account out."""

    def __init__(self, database: Database, passwords: Passwords, limits: RateLimits) -> None:
        self._database = database
        self._passwords = passwords
        self._limits = limits

    async def check(self, user_ids: Sequence[str], password: str, address: str) -> User:
        """The account; M_FORBIDDEN if it, or its password, does not exist, M_LIMIT_EXCEEDED after many failures."""
        user = await self._find_first(user_ids)
        account = user_ids[0] if user is None else user.user_id
        keys = (account, address)
        for key in keys:
            self._limits.ensure(_FAILURES, key)
        stored = None if user is None or user.deactivated else user.password_hash
        verification = await self._passwords.verify(password, stored)
        if user is None or stored is None or not verification.is_right:
            for key in keys:
                self._limits.note(_FAILURES, key)
            raise forbidden("The user name or the password is wrong.")
        if verification.new_hash is not None:
            new_hash = verification.new_hash
            await self._database.write(accounts.replace_password_hash, user.user_id, stored, new_hash)
        return user

    async def _find_first(self, user_ids: Sequence[str]) -> User | None:
        for user_id in user_ids:
            user = await self._database.read(accounts.find_user, user_id)
            if user is not None:
                return user
        return None
