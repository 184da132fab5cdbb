"""Hashes passwords with argon2id in a few threads, and accepts bcrypt hashes that were brought along.

A missing account costs the same as a wrong password, so that timing does not tell who has an account.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import os
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import argon2
import bcrypt

from homeserver.protocol.errors import MatrixError, invalid_param

if TYPE_CHECKING:
    from homeserver_config.sections.passwords import PasswordSettings

_LONGEST_PASSWORD = 512
_BCRYPT_PREFIXES = ("$2a$", "$2b$", "$2y$")
_BCRYPT_READS = 72


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether a password is right, and a hash to store instead of the old one, if that is out of date."""

    is_right: bool
    new_hash: str | None = None


class Passwords:
    """Hashing and checking; `close` ends the threads."""

    def __init__(self, settings: PasswordSettings) -> None:
        self._settings = settings
        self._pepper = settings.pepper.reveal().encode() if settings.pepper is not None else b""
        self._argon2 = argon2.PasswordHasher(
            time_cost=settings.argon2_iterations,
            memory_cost=settings.argon2_memory // 1024,
            parallelism=settings.argon2_parallelism,
        )
        self._nobodys_hash = self._hash_of_nothing()
        self._threads = ThreadPoolExecutor(settings.concurrent_hashes, thread_name_prefix="passwords")

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def check_policy(self, password: str) -> None:
        """M_WEAK_PASSWORD for a new password that is too simple, M_INVALID_PARAM for one that is too long.

        Spec: client-server-api #password-management
        """
        settings = self._settings
        if len(password) > _LONGEST_PASSWORD:
            raise invalid_param(f"A password may have at most {_LONGEST_PASSWORD} characters.")
        demands = (
            (len(password) >= settings.minimum_length, f"at least {settings.minimum_length} characters"),
            (not settings.require_digit or any(map(str.isdigit, password)), "a digit"),
            (not settings.require_lowercase or any(map(str.islower, password)), "a lower-case letter"),
            (not settings.require_uppercase or any(map(str.isupper, password)), "an upper-case letter"),
            (not settings.require_symbol or not password.isalnum(), "a symbol"),
        )
        for is_met, wanted in demands:
            if not is_met:
                raise MatrixError("M_WEAK_PASSWORD", f"The password needs {wanted}.", 400)

    async def hash(self, password: str) -> str:
        """The hash to store."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._hash, password)

    async def verify(self, password: str, stored: str | None) -> Verification:
        """Check a password against a stored hash; with None it takes as long, and is wrong."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._verify, password, stored)

    def _hash(self, password: str) -> str:
        return self._argon2.hash(self._peppered(password))

    def _verify(self, password: str, stored: str | None) -> Verification:
        if len(password) > _LONGEST_PASSWORD:
            password, stored = "", None
        if stored is not None and stored.startswith(_BCRYPT_PREFIXES):
            return self._verify_bcrypt(password, stored)
        try:
            self._argon2.verify(stored or self._nobodys_hash, self._peppered(password))
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return Verification(False)
        if stored is None:
            return Verification(False)
        return Verification(True, self._hash(password) if self._argon2.check_needs_rehash(stored) else None)

    def _verify_bcrypt(self, password: str, stored: str) -> Verification:
        secret = (_normalised(password) + self._pepper)[:_BCRYPT_READS]
        try:
            is_right = bcrypt.checkpw(secret, stored.encode())
        except ValueError:
            return Verification(False)
        return Verification(is_right, self._hash(password) if is_right else None)

    def _peppered(self, password: str) -> bytes:
        normalised = _normalised(password)
        return hmac.digest(self._pepper, normalised, hashlib.sha256) if self._pepper else normalised

    def _hash_of_nothing(self) -> str:
        salt, digest = (base64.b64encode(os.urandom(size)).rstrip(b"=").decode() for size in (16, 32))
        settings = self._argon2
        costs = f"m={settings.memory_cost},t={settings.time_cost},p={settings.parallelism}"
        return f"$argon2id$v=19${costs}${salt}${digest}"


def _normalised(password: str) -> bytes:
    # The same password typed on two systems may arrive in two Unicode forms.
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
