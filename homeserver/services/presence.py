"""Who is online. Kept in memory and told only when it changes, to those who share a room and are there themselves.

Spec: client-server-api #presence
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from homeserver.protocol.errors import forbidden, invalid_param
from homeserver.runtime.background import BackgroundTasks
from homeserver.runtime.clock import Clock
from homeserver.services.ephemeral import EphemeralCounter
from homeserver.storage.database import Database
from homeserver.storage.memberships import load_users_sharing_among, load_users_sharing_rooms
from homeserver_config.sections.presence import PresenceSettings

ONLINE, UNAVAILABLE, OFFLINE = "online", "unavailable", "offline"
STATES = frozenset({ONLINE, UNAVAILABLE, OFFLINE})
_CHECK_EVERY_S = 5.0
_CURRENTLY_ACTIVE_MS = 60_000
_REMOTE_LASTS_MS = 30 * 60_000
_MOST_USERS = 100_000
_LONGEST_STATUS = 1_000
_SHARED_EVERY_MS = 10_000


@dataclass(slots=True)
class _Presence:
    state: str = OFFLINE
    status: str | None = None
    active_ms: int = 0
    present_until_ms: int = 0
    changed_at: int = 0


class Presence:
    """The presence of the users this server has seen."""

    def __init__(self, settings: PresenceSettings, database: Database, counter: EphemeralCounter, clock: Clock) -> None:
        self._settings = settings
        self._database = database
        self._counter = counter
        self._clock = clock
        # Most recently changed last, so that news is found without a look at everybody.
        self._known: OrderedDict[str, _Presence] = OrderedDict()
        self._tell: Callable[[Iterable[str], int], None] = _tell_nobody
        self._untold: set[str] = set()
        self._listeners: list[Callable[[str], None]] = []
        self._tell_processes: Callable[[str, list[Any]], None] | None = None
        self._told_ms: dict[str, int] = {}

    def tell_processes(self, tell: Callable[[str, list[Any]], None]) -> None:
        """Have `tell(user_id, what is known)` called with what this process finds out."""
        self._tell_processes = tell

    def hear(self, user_id: str, state: str, status: str | None, active_ms: int, present_until_ms: int) -> None:
        """What another process found out."""
        known = self._get(user_id)
        known.active_ms = max(known.active_ms, active_ms)
        known.present_until_ms = max(known.present_until_ms, present_until_ms)
        if (known.state, known.status) != (state, status):
            known.status = status
            self._set(user_id, known, state, told=True)

    def _share(self, user_id: str, known: _Presence, *, at_once: bool) -> None:
        """Tell the other processes; that somebody is still there only once in a while."""
        if self._tell_processes is None:
            return
        now_ms = self._clock.now_ms()
        if not at_once and now_ms - self._told_ms.get(user_id, 0) < _SHARED_EVERY_MS:
            return
        if len(self._told_ms) > _MOST_USERS:
            self._told_ms.clear()
        self._told_ms[user_id] = now_ms
        self._tell_processes(user_id, [known.state, known.status, known.active_ms, known.present_until_ms])

    def on_change(self, listener: Callable[[str], None]) -> None:
        """Have `listener(user_id)` called whenever somebody's presence changes."""
        self._listeners.append(listener)

    def content_of(self, user_id: str) -> dict[str, Any]:
        """What a m.presence event says of a user now."""
        return self._content(self._known.get(user_id) or _Presence())

    def start(self, tasks: BackgroundTasks, tell: Callable[[Iterable[str], int], None]) -> None:
        """Begin to notice who goes away. `tell(user_ids, counter)` wakes users whose contacts changed."""
        self._tell = tell
        tasks.run_every("presence", _CHECK_EVERY_S, self.check)
        tasks.run_every("presence-news", 1.0, self.spread)

    def seen_syncing(self, user_id: str, presence: str, timeout_ms: int) -> None:
        """A client of a local user asks for news and will wait `timeout_ms` for it."""
        if not self._settings.enabled:
            return
        now_ms = self._clock.now_ms()
        known = self._get(user_id)
        if presence != OFFLINE:
            known.present_until_ms = max(known.present_until_ms, now_ms + timeout_ms + self._settings.offline_after)
        if presence == ONLINE:
            was_active = now_ms - known.active_ms < _CURRENTLY_ACTIVE_MS
            known.active_ms = now_ms
            if not was_active or known.state != ONLINE:
                self._set(user_id, known, ONLINE)
        elif presence == UNAVAILABLE and known.state == OFFLINE:
            self._set(user_id, known, UNAVAILABLE)
        self._share(user_id, known, at_once=False)

    async def set(self, requester: str, user_id: str, state: str, status: str | None) -> None:
        """What a user says of themselves. Raises M_FORBIDDEN, M_INVALID_PARAM."""
        if requester != user_id:
            raise forbidden("You can only set your own presence.")
        if state not in STATES:
            raise invalid_param(f"`presence` must be one of {', '.join(sorted(STATES))}.")
        if status is not None and len(status) > _LONGEST_STATUS:
            raise invalid_param(f"`status_msg` may have at most {_LONGEST_STATUS} characters.")
        if not self._settings.enabled:
            return
        now_ms = self._clock.now_ms()
        known = self._get(user_id)
        known.status = status
        known.present_until_ms = now_ms + self._settings.idle_after
        if state == ONLINE:
            known.active_ms = now_ms
        self._set(user_id, known, state)

    def note(self, user_id: str, state: str, status: str | None, active_ago_ms: int | None) -> None:
        """What another server says of its user. It counts until that server says something else, or long nothing."""
        if not self._settings.enabled or state not in STATES:
            return
        now_ms = self._clock.now_ms()
        known = self._get(user_id)
        known.status = status[:_LONGEST_STATUS] if status is not None else None
        known.present_until_ms = now_ms + _REMOTE_LASTS_MS
        if active_ago_ms is not None:
            known.active_ms = max(0, now_ms - max(0, active_ago_ms))
        elif state == ONLINE:
            known.active_ms = now_ms
        self._set(user_id, known, state)

    async def get(self, requester: str, user_id: str) -> dict[str, Any]:
        """A user's presence, for those who share a room with them. Raises M_FORBIDDEN."""
        if requester != user_id and not await self._database.read(load_users_sharing_among, requester, [user_id]):
            raise forbidden("You share no room with this user.")
        return self._content(self._known.get(user_id) or _Presence())

    async def changes(self, user_id: str, after: int) -> list[dict[str, Any]]:
        """m.presence events of the users who share a room with `user_id`, changed after a value of the counter."""
        recent: list[str] = []
        for other, known in reversed(self._known.items()):
            if known.changed_at <= after:
                break
            if after or known.state != OFFLINE:
                recent.append(other)
        if not recent:
            return []
        shown = await self._database.read(load_users_sharing_among, user_id, recent)
        return [
            {"type": "m.presence", "sender": other, "content": self._content(self._known[other])}
            for other in recent
            if other in shown or other == user_id
        ]

    async def check(self) -> None:
        """Let users go idle and offline whose clients have gone quiet."""
        now_ms = self._clock.now_ms()
        for user_id, known in list(self._known.items()):
            if known.state != OFFLINE and known.present_until_ms < now_ms:
                self._set(user_id, known, OFFLINE)
            elif known.state == ONLINE and now_ms - known.active_ms > self._settings.idle_after:
                self._set(user_id, known, UNAVAILABLE)
        while len(self._known) > _MOST_USERS:
            self._known.popitem(last=False)

    async def spread(self) -> None:
        """Wake those who share a room with users that changed: together, once a second at most."""
        changed, self._untold = self._untold, set()
        concerned: set[str] = set()
        for user_id in changed:
            concerned |= await self._database.read(load_users_sharing_rooms, user_id)
        if concerned:
            self._tell(concerned, self._counter.value)

    def _get(self, user_id: str) -> _Presence:
        known = self._known.get(user_id)
        if known is None:
            known = self._known[user_id] = _Presence()
            self._known.move_to_end(user_id, last=False)
        return known

    def _set(self, user_id: str, known: _Presence, state: str, *, told: bool = False) -> None:
        known.state = state
        if not told:
            self._share(user_id, known, at_once=True)
        known.changed_at = self._counter.next()
        self._known.move_to_end(user_id)
        self._untold.add(user_id)
        for listener in self._listeners:
            listener(user_id)

    def _content(self, known: _Presence) -> dict[str, Any]:
        now_ms = self._clock.now_ms()
        content: dict[str, Any] = {"presence": known.state}
        if known.active_ms:
            content["last_active_ago"] = max(0, now_ms - known.active_ms)
        if known.state == ONLINE:
            content["currently_active"] = now_ms - known.active_ms < _CURRENTLY_ACTIVE_MS
        if known.status is not None:
            content["status_msg"] = known.status
        return content


def _tell_nobody(user_ids: Iterable[str], counter: int) -> None:
    """Whom presence tells before it is started."""
