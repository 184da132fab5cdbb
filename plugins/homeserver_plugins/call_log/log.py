"""Where the call log is kept: the plugin's own rows. Calls stand once, each user has a list of theirs.
Lists are written by the reader of the log alone; what users delete is noted beside them, so that neither overwrites
the other.
"""

from __future__ import annotations

from collections.abc import Iterable

from homeserver.plugin_api import KeyValueStore
from homeserver_plugins.call_log.calls import Call


class CallLog:
    """Calls and lists, forgotten `retention_ms` after their last change; a list holds the `most` newest calls."""

    def __init__(self, store: KeyValueStore, retention_ms: int, most: int) -> None:
        self._store = store
        self._retention_ms = retention_ms
        self._most = most

    async def find(self, call_id: str) -> Call | None:
        raw = await self._store.find(f"call:{call_id}")
        return None if raw is None else Call.read(raw)

    async def put(self, call: Call, now_ms: int) -> None:
        await self._store.put(f"call:{call.call_id}", call.as_json(), expires_ms=now_ms + self._retention_ms)

    async def find_session(self, room_id: str) -> Call | None:
        """The session of MatrixRTC that was last known to go on in a room."""
        call_id = await self._store.find(f"session:{room_id}")
        return None if call_id is None else await self.find(call_id)

    async def set_session(self, room_id: str, call_id: str, now_ms: int) -> None:
        await self._store.put(f"session:{room_id}", call_id, expires_ms=now_ms + self._retention_ms)

    async def list_for(self, user_ids: Iterable[str], call_id: str, now_ms: int) -> None:
        """Have a call appear in these users' logs."""
        for user_id in user_ids:
            known: list[str] = await self._store.find(f"user:{user_id}") or []
            if call_id in known:
                continue
            kept = [*known, call_id][-self._most :]
            await self._store.put(f"user:{user_id}", kept, expires_ms=now_ms + self._retention_ms)

    async def ids_of(self, user_id: str) -> list[str]:
        """A user's calls, newest first, without those they deleted."""
        known: list[str] = await self._store.find(f"user:{user_id}") or []
        hidden = set(await self._store.find(f"hidden:{user_id}") or [])
        return [call_id for call_id in reversed(known) if call_id not in hidden]

    async def hide(self, user_id: str, call_ids: Iterable[str], now_ms: int) -> None:
        """A user deletes calls from their log."""
        known: list[str] = await self._store.find(f"user:{user_id}") or []
        hidden = {*(await self._store.find(f"hidden:{user_id}") or []), *call_ids}
        kept = [call_id for call_id in known if call_id in hidden]
        await self._store.put(f"hidden:{user_id}", kept, expires_ms=now_ms + self._retention_ms)

    async def forget_user(self, user_id: str) -> None:
        await self._store.delete(f"user:{user_id}")
        await self._store.delete(f"hidden:{user_id}")
