"""Who is typing where. Kept in memory only; each notice ends by itself.

Spec: client-server-api #typing-notifications
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from homeserver.protocol.errors import forbidden
from homeserver.runtime.background import BackgroundTasks
from homeserver.runtime.clock import Clock
from homeserver.services.ephemeral import EphemeralCounter
from homeserver.services.rooms.room import Rooms

LONGEST_MS = 120_000
_CHECK_EVERY_S = 1.0

Tell = Callable[[str, str, bool, int], None]


@dataclass(slots=True)
class _RoomTyping:
    users: dict[str, int] = field(default_factory=dict)
    changed_at: int = 0


class Typing:
    """Typing notices of local and remote users."""

    def __init__(self, rooms: Rooms, counter: EphemeralCounter, clock: Clock) -> None:
        self._rooms = rooms
        self._counter = counter
        self._clock = clock
        self._typing: dict[str, _RoomTyping] = {}
        self._listeners: list[Callable[[str], None]] = []
        self._tell: Tell | None = None

    def start(self, tasks: BackgroundTasks) -> None:
        """Begin ending notices that have run out."""
        tasks.run_every("typing", _CHECK_EVERY_S, self.expire)

    def on_change(self, listener: Callable[[str], None]) -> None:
        """Have `listener(room_id)` called whenever somebody starts or stops typing."""
        self._listeners.append(listener)

    def tell_processes(self, tell: Tell) -> None:
        """Have `tell(user_id, room_id, typing, timeout_ms)` called with each notice that this process takes."""
        self._tell = tell

    async def set(self, user_id: str, room_id: str, typing: bool, timeout_ms: int) -> None:
        """Say that a local user types, for at most `timeout_ms`, or has stopped. Raises M_FORBIDDEN."""
        room = await self._rooms.get(room_id)
        if room.local_members.get(user_id) != "join":
            raise forbidden("You are not in this room.")
        self.note(user_id, room_id, typing, timeout_ms)

    def note(self, user_id: str, room_id: str, typing: bool, timeout_ms: int, *, told: bool = False) -> None:
        """Take a notice as it is, for users whose membership has been checked. `told`: by another process."""
        if self._tell is not None and not told:
            self._tell(user_id, room_id, typing, timeout_ms)
        known = self._typing.get(room_id)
        if not typing:
            if known is not None and known.users.pop(user_id, None) is not None:
                self._changed(room_id, known)
            return
        if known is None:
            known = self._typing[room_id] = _RoomTyping()
        is_new = user_id not in known.users
        known.users[user_id] = self._clock.now_ms() + min(max(timeout_ms, 0), LONGEST_MS)
        if is_new:
            self._changed(room_id, known)

    def users_in(self, room_id: str) -> list[str]:
        """Who is typing in a room now."""
        known = self._typing.get(room_id)
        return sorted(known.users) if known is not None else []

    def changed_at(self, room_id: str) -> int:
        """The counter's value when typing last changed in a room; 0 for never."""
        known = self._typing.get(room_id)
        return known.changed_at if known is not None else 0

    async def expire(self) -> None:
        """End the notices whose time is up, and forget rooms long silent."""
        now_ms = self._clock.now_ms()
        for room_id, known in list(self._typing.items()):
            over = [user_id for user_id, until_ms in known.users.items() if until_ms <= now_ms]
            for user_id in over:
                del known.users[user_id]
            if over:
                self._changed(room_id, known)
            elif not known.users and known.changed_at < now_ms - 10 * LONGEST_MS:
                del self._typing[room_id]

    def _changed(self, room_id: str, known: _RoomTyping) -> None:
        known.changed_at = self._counter.next()
        for listener in self._listeners:
            listener(room_id)
