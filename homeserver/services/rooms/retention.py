"""Forgets what rooms need no more: old transaction ids, the content of redacted events, old mentions.

To be run every hour or so; each step is a transaction of its own, in small portions.
"""

from __future__ import annotations

from homeserver.runtime.clock import Clock
from homeserver.storage.database import Database
from homeserver.storage.reports import delete_old_reports
from homeserver.storage.room_retention import delete_old_mentions, delete_old_transactions, strip_redacted
from homeserver_config.sections.retention import RetentionSettings

_AT_ONCE = 500
_MOST_PORTIONS = 200
# A mention matters while it may be unread.
_MENTIONS_MS = 365 * 86_400_000
_REPORTS_MS = 365 * 86_400_000


class RoomRetention:
    """`run` does one round."""

    def __init__(self, settings: RetentionSettings, database: Database, clock: Clock) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock

    async def run(self) -> None:
        now_ms = self._clock.now_ms()
        await self._database.write(delete_old_transactions, now_ms - self._settings.transaction_ids)
        await self._database.write(delete_old_mentions, now_ms - _MENTIONS_MS)
        await self._database.write(delete_old_reports, now_ms - _REPORTS_MS)
        if self._settings.redacted_content is None:
            return
        before_ms = now_ms - self._settings.redacted_content
        for _ in range(_MOST_PORTIONS):
            if await self._database.write(strip_redacted, before_ms, _AT_ONCE) < _AT_ONCE:
                return
