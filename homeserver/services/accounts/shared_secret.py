"""Registration by whoever knows the shared secret, in the form that existing admin tools speak.

Nonces carry their own proof and expiry, so that any process may accept what another one issued.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from homeserver.protocol.errors import forbidden, unknown

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.randomness import Randomness
    from homeserver.services.accounts.accounts import Accounts
    from homeserver.services.accounts.sessions import ClientDetails, NewSession, Sessions
    from homeserver_config.values import Secret

_NONCE_LIFETIME_MS = 60_000


@dataclass(frozen=True, slots=True)
class SharedSecretRequest:
    """`mac` is the hex HMAC-SHA1, with the secret, of nonce, username, password, "admin" or "notadmin" and, if given,
    user type, joined by NUL bytes.
    """

    nonce: str
    username: str
    password: str
    mac: str
    admin: bool = False
    user_type: str | None = None
    displayname: str | None = None


class SharedSecretRegistration:
    """Off unless the settings hold a secret."""

    def __init__(
        self,
        secret: Secret | None,
        clock: Clock,
        randomness: Randomness,
        accounts: Accounts,
        sessions: Sessions,
    ) -> None:
        self._secret = None if secret is None else secret.reveal().encode()
        self._clock = clock
        self._randomness = randomness
        self._accounts = accounts
        self._sessions = sessions
        self._used: dict[str, int] = {}

    def issue_nonce(self) -> str:
        """A nonce for one registration within a minute."""
        stem = f"{self._clock.now_ms() + _NONCE_LIFETIME_MS}.{self._randomness.token(12)}"
        return f"{stem}.{self._proof(stem)}"

    async def register(self, request: SharedSecretRequest, client: ClientDetails) -> NewSession:
        """Open the account and a session; M_FORBIDDEN for a wrong MAC, else as `Accounts.create`."""
        self._use_nonce(request.nonce)
        parts = [request.nonce, request.username, request.password, "admin" if request.admin else "notadmin"]
        if request.user_type is not None:
            parts.append(request.user_type)
        wanted = hmac.new(self._get_secret(), "\0".join(parts).encode(), hashlib.sha1).hexdigest()
        if not hmac.compare_digest(wanted.encode(), request.mac.lower().encode()):
            raise forbidden("The MAC is wrong.")
        if request.user_type not in (None, "bot", "support"):
            raise unknown(f"There is no user type {request.user_type!r}.")
        user = await self._accounts.create(
            request.username,
            password=request.password,
            kind=request.user_type or "user",
            admin=request.admin,
            displayname=request.displayname,
        )
        return await self._sessions.begin(user.user_id, client)

    def _use_nonce(self, nonce: str) -> None:
        stem, _, proof = nonce.rpartition(".")
        now_ms = self._clock.now_ms()
        self._used = {used: expires_ms for used, expires_ms in self._used.items() if expires_ms > now_ms}
        is_ours = hmac.compare_digest(self._proof(stem).encode(), proof.encode())
        if not is_ours or nonce in self._used or int(stem.partition(".")[0]) <= now_ms:
            raise unknown("The nonce is not known, or it has expired.")
        self._used[nonce] = now_ms + _NONCE_LIFETIME_MS

    def _proof(self, stem: str) -> str:
        return hmac.new(self._get_secret(), b"nonce\0" + stem.encode(), hashlib.sha256).hexdigest()

    def _get_secret(self) -> bytes:
        if self._secret is None:
            raise unknown("Registration with a shared secret is not enabled.")
        return self._secret
