"""Sync filters: stored under the hash of their content, and kept parsed in memory.

Spec: client-server-api #filtering
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from homeserver.protocol.errors import not_found, not_json
from homeserver.protocol.sync_filters import Filter
from homeserver.runtime.bounded_cache import BoundedCache
from homeserver.storage import filters as rows

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.storage.database import Database

_MOST_PER_USER = 200
_USED_EVERY_MS = 86_400_000
# Filters sent along inline: clients send the same few all the time.
_MOST_INLINE = 1_000
_LONGEST_KEPT = 4_096


class Filters:
    """The filters of local users."""

    def __init__(self, database: Database, clock: Clock, *, cache_size: int = 10_000) -> None:
        self._database = database
        self._clock = clock
        self._cache: BoundedCache[tuple[str, str], Filter] = BoundedCache("filters", cache_size)
        self._inline: BoundedCache[str, Filter] = BoundedCache("inline_filters", _MOST_INLINE)

    async def create(self, user_id: str, definition: Mapping[str, Any]) -> str:
        """Store a filter; its ID. M_BAD_JSON if it is none."""
        parsed = Filter.parse(dict(definition))
        raw = orjson.dumps(dict(definition), option=orjson.OPT_SORT_KEYS)
        filter_id = base64.urlsafe_b64encode(hashlib.sha256(raw).digest()[:15]).decode()
        now_ms = self._clock.now_ms()
        await self._database.write(rows.store_filter, user_id, filter_id, raw, now_ms, _MOST_PER_USER)
        self._cache.put((user_id, filter_id), parsed)
        return filter_id

    async def get_definition(self, user_id: str, filter_id: str) -> dict[str, Any]:
        """The filter as it was stored; M_NOT_FOUND."""
        found = await self._database.read(rows.find_filter, user_id, filter_id)
        if found is None:
            raise not_found("There is no such filter.")
        definition: dict[str, Any] = orjson.loads(found[0])
        return definition

    async def get(self, user_id: str, filter_id: str) -> Filter:
        """The parsed filter; M_NOT_FOUND."""
        cached = self._cache.find((user_id, filter_id))
        if cached is not None:
            return cached
        found = await self._database.read(rows.find_filter, user_id, filter_id)
        if found is None:
            raise not_found("There is no such filter.")
        definition, used_ms = found
        now_ms = self._clock.now_ms()
        if now_ms - used_ms > _USED_EVERY_MS:
            await self._database.write(rows.mark_used, user_id, filter_id, now_ms)
        parsed = Filter.parse(orjson.loads(definition))
        self._cache.put((user_id, filter_id), parsed)
        return parsed

    async def get_or_parse(self, user_id: str, text: str) -> Filter:
        """What the `filter` parameter of a request means: a filter's ID, or a filter inline as JSON.

        M_NOT_FOUND, M_NOT_JSON, M_BAD_JSON.
        """
        if not text.startswith("{"):
            return await self.get(user_id, text)
        known = self._inline.find(text)
        if known is None:
            try:
                definition = orjson.loads(text)
            except orjson.JSONDecodeError as mistake:
                raise not_json(f"The filter is not JSON: {mistake}.") from None
            known = Filter.parse(definition)
            if len(text) <= _LONGEST_KEPT:
                self._inline.put(text, known)
        return known
