"""Knows, for every user that is syncing, what has changed since when, and wakes those who wait.

A sync that has nothing to tell is answered from here, without a look at rooms or database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from homeserver.runtime.background import BackgroundTasks
from homeserver.runtime.clock import Clock
from homeserver.services.rooms.room import MEMBER, Rooms
from homeserver.services.sync.room_list import RoomList
from homeserver.services.tokens import SyncToken
from homeserver.storage.changes import Change
from homeserver.storage.database import Database, load_position
from homeserver.storage.memberships import FORGOTTEN, Membership, load_memberships
from homeserver.storage.receipts import Receipt
from homeserver.storage.room_lists import load_room_list
from homeserver.storage.room_log import Appended

_FORGET_AFTER_S = 600.0
_SWEEP_EVERY_S = 60.0


@dataclass(slots=True, eq=False)
class Watched:
    """A user who is syncing. Every change after `base` that concerns them is noted here.

    `rooms`, `receipts` and `typing` say when a room last had news of any kind, of receipts, or of typing;
    `subjects` when anything that is in no room had.
    """

    user_id: str
    base: int
    last: int
    last_ephemeral: int = 0
    rooms: dict[str, int] = field(default_factory=dict)
    receipts: dict[str, int] = field(default_factory=dict)
    typing: dict[str, int] = field(default_factory=dict)
    subjects: dict[str, int] = field(default_factory=dict)
    memberships: dict[str, Membership] = field(default_factory=dict)
    # Their rooms in order of activity, for those who ask for them so.
    room_list: RoomList | None = None
    stale: bool = True
    used_at: float = 0.0
    waiters: set[asyncio.Future[None]] = field(default_factory=set)

    def has_news(self, since: SyncToken) -> bool:
        """Whether anything may have happened after `since`."""
        return since.position < self.base or self.last > since.position or self.last_ephemeral > since.ephemeral

    def changed(self, subject: str, after: int) -> bool:
        """Whether a subject outside rooms may have changed after a position."""
        return after < self.base or self.subjects.get(subject, 0) > after

    def rooms_since(self, after: int) -> list[str] | None:
        """The rooms with news of any kind after a position, newest first; None when memory does not go back so far."""
        if after < self.base:
            return None
        found: list[str] = []
        for room_id in reversed(self.rooms):
            if self.rooms[room_id] <= after:
                break
            found.append(room_id)
        return found

    def note_room(self, room_id: str, position: int) -> None:
        """A room has news. `rooms` is kept in the order of its news, oldest first."""
        self.rooms.pop(room_id, None)
        self.rooms[room_id] = position

    def wake(self) -> None:
        """Let every waiting request of this user look again."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)
        self.waiters.clear()


class SyncHub:
    """Follows the log on behalf of syncing users."""

    def __init__(self, database: Database, rooms: Rooms, clock: Clock) -> None:
        self._database = database
        self._rooms = rooms
        self._clock = clock
        self._watched: dict[str, Watched] = {}
        self.position = 0
        self.releasing = False

    async def start(self, tasks: BackgroundTasks) -> None:
        """Find out where the log stands, and begin forgetting users who went away."""
        self.position = await self._database.read(load_position)
        tasks.run_every("sync-hub", _SWEEP_EVERY_S, self.sweep)

    async def watch(self, user_id: str) -> Watched:
        """The record of a user, with their memberships as they are now."""
        watched = self._watched.get(user_id)
        if watched is None:
            watched = Watched(user_id, base=self.position, last=self.position)
            self._watched[user_id] = watched
        watched.used_at = self._clock.monotonic()
        while watched.stale:
            watched.stale = False
            memberships = await self._database.read(load_memberships, user_id)
            if self._watched.get(user_id) is not watched:
                # Forgotten meanwhile, and with it what happened meanwhile.
                return await self.watch(user_id)
            if not watched.stale:
                watched.memberships = {found.room_id: found for found in memberships}
        return watched

    async def room_list(self, watched: Watched) -> RoomList:
        """The user's rooms in order of activity."""
        if watched.room_list is None:
            before = self.position
            loaded = RoomList(await self._database.read(load_room_list, watched.user_id))
            for room_id in reversed(watched.rooms_since(before) or []):
                # Something happened while the list was being read.
                loaded.touch(room_id, watched.rooms[room_id])
                loaded.traits.pop(room_id, None)
            watched.room_list = loaded
        return watched.room_list

    async def wait(self, watched: Watched, since: SyncToken, seconds: float) -> bool:
        """Wait for news after `since`; False when there were none in time."""
        if watched.has_news(since) or self._watched.get(watched.user_id) is not watched:
            return True
        if self.releasing:
            return False
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        watched.waiters.add(waiter)
        try:
            async with asyncio.timeout(seconds):
                await waiter
        except TimeoutError:
            return False
        finally:
            watched.waiters.discard(waiter)
        return not self.releasing

    def follow(self, changes: Sequence[Change], position: int | None) -> None:
        """Note what was committed and wake those concerned."""
        woken: set[Watched] = set()
        for change in changes:
            for user_id in self._concerned(change):
                watched = self._watched.get(user_id)
                if watched is None:
                    continue
                watched.last = max(watched.last, change.position)
                if isinstance(change.detail, Receipt):
                    room_id = change.detail.room_id
                    watched.note_room(room_id, change.position)
                    watched.receipts[room_id] = change.position
                elif change.room_id is not None:
                    watched.note_room(change.room_id, change.position)
                    if watched.room_list is not None:
                        watched.room_list.note(change)
                    self._follow_membership(watched, change)
                else:
                    watched.subjects[change.subject] = change.position
                    watched.stale |= change.subject == FORGOTTEN
                woken.add(watched)
        if position is not None:
            self.position = max(self.position, position)
        for watched in woken:
            watched.wake()

    def typing_changed(self, room_id: str, ephemeral: int) -> None:
        """Tell those in a room that somebody started or stopped typing."""
        room = self._rooms.in_memory(room_id)
        for user_id, membership in room.local_members.items() if room is not None else ():
            watched = self._watched.get(user_id)
            if watched is not None and membership == "join":
                watched.typing[room_id] = watched.last_ephemeral = ephemeral
                watched.wake()

    def ephemeral_changed(self, user_ids: Iterable[str], ephemeral: int) -> None:
        """Tell users that the presence of someone they know has changed."""
        for user_id in user_ids:
            watched = self._watched.get(user_id)
            if watched is not None:
                watched.last_ephemeral = ephemeral
                watched.wake()

    def wake(self, user_ids: Iterable[str], subject: str, position: int) -> None:
        """Tell users of a change in a subject that is in no room."""
        for user_id in user_ids:
            watched = self._watched.get(user_id)
            if watched is not None:
                watched.subjects[subject] = watched.last = max(watched.last, position)
                watched.wake()

    def release_all(self) -> None:
        """Answer everybody who waits: the server is about to stop."""
        self.releasing = True
        for watched in self._watched.values():
            watched.wake()

    def watching(self) -> int:
        """How many users have a record."""
        return len(self._watched)

    def missed(self, position: int) -> None:
        """Nobody knows what happened up to a position: everyone is to look into the database."""
        self.position = max(self.position, position)
        for watched in self._watched.values():
            watched.wake()
        self._watched.clear()

    async def forget_all(self) -> None:
        """Start anew, as after a restart: who waits is answered, and old tokens are read from the database."""
        for watched in self._watched.values():
            watched.wake()
        self._watched.clear()

    async def sweep(self) -> None:
        """Forget users who have not synced for a while."""
        before = self._clock.monotonic() - _FORGET_AFTER_S
        for user_id, watched in list(self._watched.items()):
            if watched.used_at < before and not watched.waiters:
                del self._watched[user_id]

    def _concerned(self, change: Change) -> Iterable[str]:
        if change.subject == "device_list":
            return self._sharing_rooms_with(change.user_ids)
        if change.room_id is None:
            return change.user_ids
        room = self._rooms.in_memory(change.room_id)
        if room is None:
            members = [user_id for user_id, watched in self._watched.items() if change.room_id in watched.memberships]
        else:
            members = [user_id for user_id, membership in room.local_members.items() if membership == "join"]
        return {*members, *change.user_ids} if change.user_ids else members

    def _sharing_rooms_with(self, user_ids: Iterable[str]) -> Iterable[str]:
        concerned: set[str] = set(user_ids)
        for user_id in user_ids:
            watched = self._watched.get(user_id)
            if watched is None or watched.stale:
                return list(self._watched)
            for room_id, membership in watched.memberships.items():
                if membership.membership != "join":
                    continue
                room = self._rooms.in_memory(room_id)
                if room is None:
                    # Nobody here knows who is in it: better to wake too many than too few.
                    return list(self._watched)
                concerned.update(room.local_members)
        return concerned

    @staticmethod
    def _follow_membership(watched: Watched, change: Change) -> None:
        appended = change.detail
        watched.stale |= change.subject == "outside_membership"
        if change.detail is None and watched.user_id in change.user_ids:
            watched.stale = True
        if not isinstance(appended, Appended) or (MEMBER, watched.user_id) not in appended.state_changes:
            return
        event_id = appended.state_changes[(MEMBER, watched.user_id)]
        for stored in appended.events:
            if stored.event_id == event_id:
                membership = stored.event.membership or "leave"
                watched.memberships[appended.room_id] = Membership(
                    appended.room_id, membership, stored.event_id, change.position, stored.event.sender, False
                )
                return
        watched.stale = True
