"""Second factors as they are kept, and the only place where a code is checked: once each, and so many times an hour."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from homeserver.plugin_api import PluginContext, forbidden
from homeserver.protocol.errors import limit_exceeded
from homeserver_plugins.totp.codes import SECRET_BYTES, STEP_MS, WINDOW, find_step

RECOVERY_CODES = 10
_RECOVERY_BYTES = 10
_PENDING_MS = 600_000
_ATTEMPTS_IN = 3_600_000
_ATTEMPTS = 10
_REPLAY_MS = (2 * WINDOW + 2) * STEP_MS
_CLAIM_MS = 86_400_000


class Factors:
    """The second factors of this server's users."""

    def __init__(self, context: PluginContext) -> None:
        self._store = context.store
        self._clock = context.clock
        self._randomness = context.randomness

    async def is_enabled(self, user_id: str) -> bool:
        return await self._store.find(f"secret:{user_id}") is not None

    async def begin(self, user_id: str) -> bytes:
        """A new secret, which counts once a code of it is confirmed, within ten minutes."""
        secret = self._randomness.bytes(SECRET_BYTES)
        await self._store.put(f"pending:{user_id}", secret.hex(), expires_ms=self._clock.now_ms() + _PENDING_MS)
        return secret

    async def confirm(self, user_id: str, code: str) -> list[str]:
        """The app works: its secret counts from now on. Returns the recovery codes, which nobody sees again."""
        secret: str | None = await self._store.find(f"pending:{user_id}")
        if secret is None:
            raise forbidden("There is nothing to confirm, or it has taken too long. Begin again.")
        await self._check_code(user_id, bytes.fromhex(secret), code)
        if not await self._store.put_new(f"secret:{user_id}", secret):
            raise forbidden("There is a second factor already.")
        await self._store.delete(f"pending:{user_id}")
        return await self.renew_recovery_codes(user_id)

    async def check(self, user_id: str, code: str) -> None:
        """A code of the app, or a recovery code, which is used up. M_FORBIDDEN, M_LIMIT_EXCEEDED."""
        secret: str | None = await self._store.find(f"secret:{user_id}")
        if secret is None:
            return
        if len(code) > SECRET_BYTES // 2:
            await self._use_recovery_code(user_id, code)
        else:
            await self._check_code(user_id, bytes.fromhex(secret), code)

    async def renew_recovery_codes(self, user_id: str) -> list[str]:
        for key in await self._store.load(f"recovery:{user_id}:"):
            await self._store.delete(key)
        codes = [_readable(self._randomness.bytes(_RECOVERY_BYTES)) for _ in range(RECOVERY_CODES)]
        for code in codes:
            await self._store.put(f"recovery:{user_id}:{_hash(code)}", True)
        return codes

    async def recovery_codes_left(self, user_id: str) -> int:
        return len(await self._store.load(f"recovery:{user_id}:"))

    async def forget(self, user_id: str) -> None:
        """The account has no second factor any more."""
        await self._store.delete(f"secret:{user_id}")
        await self._store.delete(f"pending:{user_id}")
        for key in await self._store.load(f"recovery:{user_id}:"):
            await self._store.delete(key)

    async def _check_code(self, user_id: str, secret: bytes, code: str) -> None:
        attempt = await self._claim_attempt(user_id)
        now_ms = self._clock.now_ms()
        step = find_step(secret, code, now_ms)
        # Whoever looked over a shoulder comes too late: a code holds once.
        if step is None or not await self._store.put_new(
            f"used:{user_id}:{step}", True, expires_ms=now_ms + _REPLAY_MS
        ):
            raise wrong_code()
        await self._store.delete(attempt)

    async def _use_recovery_code(self, user_id: str, code: str) -> None:
        attempt = await self._claim_attempt(user_id)
        digest = _hash(code)
        key: str = f"recovery:{user_id}:{digest}"
        known: Any = await self._store.find(key)
        claim = f"recovered:{user_id}:{digest}"
        if known is None or not await self._store.put_new(claim, True, expires_ms=self._clock.now_ms() + _CLAIM_MS):
            raise wrong_code()
        await self._store.delete(key)
        await self._store.delete(attempt)

    async def _claim_attempt(self, user_id: str) -> str:
        """One of the attempts that may fail within an hour; given back after one that did not."""
        expires_ms = self._clock.now_ms() + _ATTEMPTS_IN
        for number in range(_ATTEMPTS):
            key = f"attempt:{user_id}:{number}"
            if await self._store.put_new(key, True, expires_ms=expires_ms):
                return key
        raise limit_exceeded(_ATTEMPTS_IN // _ATTEMPTS)


def wrong_code() -> Exception:
    """What is said of a code that is wrong or was used already."""
    return forbidden("The code of the second factor is wrong or was used already.")


def _readable(raw: bytes) -> str:
    """Sixteen letters and digits in groups of four."""
    text = base64.b32encode(raw).decode("ascii").lower()
    return "-".join(text[at : at + 4] for at in range(0, len(text), 4))


def _hash(code: str) -> str:
    """Eighty random bits need no slow hash."""
    plain = code.replace("-", "").replace(" ", "").lower()
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()
