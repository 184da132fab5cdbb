"""The device authorization grant: a client without a browser shows a code, and its user enters it in a browser.

Spec: client-server-api #device-authorisation-flow; RFC 8628
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from homeserver.protocol.errors import not_found
from homeserver.services.accounts.tokens import hash_token
from homeserver.services.oauth_provider.client_metadata import DEVICE_CODE
from homeserver.services.oauth_provider.errors import (
    AccessDeniedError,
    AuthorizationPendingError,
    ExpiredTokenError,
    InvalidGrantError,
    SlowDownError,
)
from homeserver.services.oauth_provider.scopes import parse_scope
from homeserver.storage import oauth_codes
from homeserver.storage.oauth_codes import APPROVED, DENIED, PENDING, DeviceCode

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.randomness import Randomness
    from homeserver.services.oauth_provider.clients import Client, OAuthClients
    from homeserver.services.rate_limiter import RateLimits
    from homeserver.storage.database import Database

_LIFETIME_MS = 15 * 60_000
_INTERVAL_MS = 5_000
_SLOWER_BY_MS = 5_000
# No vowels, so that no words come out, and nothing that is read as something else.
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
_LENGTH = 8
_FAILURES = "login_failed"
_log = structlog.get_logger("homeserver.oauth_provider")


@dataclass(frozen=True, slots=True)
class WaitingDevice:
    """A client that waits for its user's word."""

    client: Client
    device_id: str


class DeviceGrants:
    """`verification_uri` is the page where people enter a code."""

    def __init__(
        self,
        verification_uri: str,
        database: Database,
        clock: Clock,
        randomness: Randomness,
        clients: OAuthClients,
        limits: RateLimits,
    ) -> None:
        self._verification_uri = verification_uri
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._clients = clients
        self._limits = limits

    async def begin(self, form: Mapping[str, str], address: str) -> dict[str, Any]:
        """The answer to a device authorization request; OAuth2Error."""
        client = await self._clients.get(form.get("client_id"))
        client.check_may_use(DEVICE_CODE)
        scope = parse_scope(form.get("scope"))
        while True:
            device_code = "std_" + self._randomness.token()
            user_code = "".join(_LETTERS[self._randomness.below(len(_LETTERS))] for _ in range(_LENGTH))
            row = DeviceCode(
                hash_token(device_code),
                client.client_id,
                scope.text,
                PENDING,
                None,
                _INTERVAL_MS,
                None,
                self._clock.now_ms() + _LIFETIME_MS,
            )
            if await self._database.write(oauth_codes.create_device_code, hash_token(user_code), row):
                break
        _log.info("device authorization begun", client_id=client.client_id, address=address)
        shown = f"{user_code[:4]}-{user_code[4:]}"
        return {
            "device_code": device_code,
            "user_code": shown,
            "verification_uri": self._verification_uri,
            "verification_uri_complete": f"{self._verification_uri}?user_code={shown}",
            "expires_in": _LIFETIME_MS // 1000,
            "interval": _INTERVAL_MS // 1000,
        }

    async def find(self, user_code: str, user_id: str) -> WaitingDevice:
        """The client that waits with this code; M_NOT_FOUND, M_LIMIT_EXCEEDED after many wrong codes."""
        key = f"device code {user_id}"
        self._limits.ensure(_FAILURES, key)
        row = await self._database.read(oauth_codes.find_by_user_code, _hash(user_code))
        client = None if row is None else await self._clients.find(row.client_id)
        if row is None or client is None or row.verdict != PENDING or row.expires_ms <= self._clock.now_ms():
            self._limits.note(_FAILURES, key)
            raise not_found("This code is not known, or it has expired. Start again on your device.")
        return WaitingDevice(client, parse_scope(row.scope).device_id)

    async def judge(self, user_code: str, user_id: str, *, approved: bool) -> None:
        """What the user says of it; M_NOT_FOUND if nobody waits for it any more."""
        device = await self.find(user_code, user_id)
        verdict = APPROVED if approved else DENIED
        if not await self._database.write(oauth_codes.judge, _hash(user_code), verdict, user_id, self._clock.now_ms()):
            raise not_found("This code has been used already, or it has expired.")
        _log.info(f"device {verdict}", client_id=device.client.client_id, user_id=user_id, device_id=device.device_id)

    async def redeem(self, client: Client, device_code: str) -> tuple[str, str]:
        """(user ID, scope) once the user has agreed; the errors of RFC 8628 until then, and if not."""
        now_ms = self._clock.now_ms()
        code, too_soon = await self._database.write(
            oauth_codes.poll, hash_token(device_code), client.client_id, now_ms, _SLOWER_BY_MS
        )
        if code is None:
            raise InvalidGrantError("The device code is not valid.")
        if code.expires_ms <= now_ms:
            raise ExpiredTokenError("The device code has expired.")
        if code.verdict == DENIED:
            raise AccessDeniedError("The user did not agree.")
        if code.verdict == APPROVED and code.user_id is not None:
            return code.user_id, code.scope
        if too_soon:
            raise SlowDownError("Ask less often.")
        raise AuthorizationPendingError("The user has not decided yet.")


def _hash(user_code: str) -> bytes:
    """People leave out the hyphen and use small letters."""
    return hash_token("".join(letter for letter in user_code.upper() if letter.isalnum()))
