"""Forgets codes, browser sessions and approvals that have expired, and clients nobody uses.

To be run every hour or so. Grants go with their devices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from homeserver.storage import browser_sessions, oauth_clients, oauth_codes

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.storage.database import Database

_CODES_FOR_MS = 10 * 60_000  # so that a second use is noticed, and a slow client hears that its code has expired


class OAuthRetention:
    """`run` does one round. `clients_ms`: how long a client without a session is remembered."""

    def __init__(self, database: Database, clock: Clock, clients_ms: int) -> None:
        self._database = database
        self._clock = clock
        self._clients_ms = clients_ms

    async def run(self) -> None:
        now_ms = self._clock.now_ms()
        await self._database.write(oauth_codes.delete_expired, now_ms - _CODES_FOR_MS)
        await self._database.write(browser_sessions.delete_expired, now_ms)
        await self._database.write(oauth_clients.delete_unused, now_ms - self._clients_ms)
