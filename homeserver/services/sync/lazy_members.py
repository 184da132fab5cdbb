"""Which members each device has been told of, so that lazy loading does not repeat them.

Forgetting only costs a repetition, so memory is bounded.
Spec: client-server-api #lazy-loading-room-members
"""

from __future__ import annotations

from collections.abc import Iterable

from homeserver.runtime.bounded_cache import BoundedCache

_REMEMBERED = 100_000


class LazyMembers:
    """Remembers members sent, by device and room."""

    def __init__(self) -> None:
        self._sent: BoundedCache[tuple[str, str, str], set[str]] = BoundedCache("lazy_members", _REMEMBERED)

    def unsent(self, user_id: str, device_id: str, room_id: str, members: Iterable[str]) -> set[str]:
        """Those of `members` the device does not know yet; from now on it does."""
        key = (user_id, device_id, room_id)
        sent = self._sent.find(key)
        if sent is None:
            sent = set()
            self._sent.put(key, sent)
        fresh = set(members) - sent
        sent |= fresh
        return fresh

    def forget(self, user_id: str, device_id: str, room_id: str) -> None:
        """The device starts anew."""
        self._sent.drop((user_id, device_id, room_id))
