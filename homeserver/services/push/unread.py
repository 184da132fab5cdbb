"""Unread and highlight counts, by room and by thread.

Counted from the log when first asked for, then carried forward event by event in memory for users who are active.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import Connection

from homeserver.protocol.events import Event
from homeserver.protocol.power_levels import PowerLevels
from homeserver.protocol.push_rules import CompiledRuleset, PushContext
from homeserver.runtime.bounded_cache import BoundedCache
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import MEMBER, Room
from homeserver.storage.changes import Change
from homeserver.storage.database import Database
from homeserver.storage.events import StoredEvent, load_newest
from homeserver.storage.receipts import READ, READ_PRIVATE, Receipt
from homeserver.storage.room_log import Appended
from homeserver.storage.unread import MAIN, ReadUpTo, UnreadEvent, load_read_up_to, load_unread

_MOST_EVALUATED = 1_000
_DECISIVE = (("m.room.power_levels", ""), ("m.room.create", ""))


class PersonalPushRules(Protocol):
    """The push rules of users who have changed them."""

    async def find_personal(self, user_id: str) -> CompiledRuleset | None:
        """The user's rules; None when they are the predefined ones."""


@dataclass(frozen=True, slots=True)
class Count:
    """How many unread events notify, and how many of those are important."""

    notifications: int = 0
    highlights: int = 0


_NONE = Count()


@dataclass(frozen=True, slots=True)
class UnreadCounts:
    """The counts of a room: its main timeline, and each thread that has any."""

    main: Count
    threads: dict[str, Count]

    @property
    def total(self) -> Count:
        """Main timeline and threads together, for clients that do not tell them apart."""
        counts = [self.main, *self.threads.values()]
        return Count(sum(count.notifications for count in counts), sum(count.highlights for count in counts))


@dataclass(slots=True)
class _Known:
    read: ReadUpTo
    up_to: int
    # Notifications and highlights by thread.
    counts: dict[str, Count] = field(default_factory=dict)
    # The personal rules they were counted by: others count anew.
    rules: CompiledRuleset | None = None

    def add(self, event: UnreadEvent) -> None:
        """Count an event, unless it has been read."""
        if self.read.covers(event.position, event.thread):
            return
        count = self.counts.get(event.thread, _NONE)
        self.counts[event.thread] = Count(count.notifications + event.notify, count.highlights + event.highlight)


class Unread:
    """At most `remembered` pairs of user and room in memory."""

    def __init__(
        self, database: Database, events: EventStore, personal: PersonalPushRules, remembered: int = 200_000
    ) -> None:
        self._database = database
        self._events = events
        self._personal = personal
        self.cache: BoundedCache[tuple[str, str], _Known] = BoundedCache("unread", remembered)

    async def counts(self, user_id: str, rooms: Sequence[Room], up_to: int) -> dict[str, UnreadCounts]:
        """The counts of a user's rooms as the log stood at `up_to`, by room id."""
        rules = await self._personal.find_personal(user_id)
        cold: list[Room] = []
        for room in rooms:
            known = self.cache.find((user_id, room.room_id))
            if (
                known is None
                or known.rules is not rules
                or not await self._carry_forward(known, user_id, room, up_to, rules)
            ):
                cold.append(room)
        if cold:
            await self._load(user_id, cold, up_to, rules)
        return {
            room.room_id: UnreadCounts(
                known.counts.get(MAIN, _NONE), {root: count for root, count in known.counts.items() if root != MAIN}
            )
            for room in rooms
            if (known := self.cache.find((user_id, room.room_id))) is not None
        }

    def follow(self, changes: Iterable[Change]) -> None:
        """Forget counts that a receipt, a redaction or a changed membership has made wrong."""
        for change in changes:
            detail = change.detail
            if isinstance(detail, Receipt) and detail.receipt_type in {READ, READ_PRIVATE}:
                self.cache.drop((detail.user_id, detail.room_id))
            elif isinstance(detail, Appended):
                for event_type, user_id in detail.state_changes:
                    if event_type == MEMBER:
                        self.cache.drop((user_id, detail.room_id))

    async def _carry_forward(
        self, known: _Known, user_id: str, room: Room, up_to: int, rules: CompiledRuleset | None
    ) -> bool:
        if known.up_to >= up_to or room.latest_position <= known.up_to:
            return True
        fresh = room.newest(known.up_to, up_to, _MOST_EVALUATED)
        if fresh is None or any(stored.event.redacts is not None for stored in fresh):
            return False
        for stored in fresh:
            event = stored.event
            if event.sender == user_id and not event.is_state:
                known.read = ReadUpTo(stored.position or 0, known.read.threads)
                known.counts = {}
                continue
            found = await self._judge(stored, user_id, room, rules)
            if found is not None:
                known.add(found)
        known.up_to = up_to
        return True

    async def _judge(
        self, stored: StoredEvent, user_id: str, room: Room, rules: CompiledRuleset | None
    ) -> UnreadEvent | None:
        event = stored.event
        if event.sender == user_id or stored.position is None or stored.redacted_by is not None:
            return None
        thread = stored.thread_root or MAIN
        if rules is None:
            mention = next((found for found in stored.mentions if found.user_id == user_id), None)
            notify = stored.notify > 0 or (mention is not None and mention.notify)
            highlight = stored.notify > 1 or (mention is not None and mention.highlight)
        else:
            outcome = rules.evaluate(event, await self.context(user_id, room))
            notify, highlight = outcome.notify, outcome.highlight
        return UnreadEvent(stored.position, thread, notify, highlight) if notify else None

    async def context(self, user_id: str, room: Room) -> PushContext:
        """What push rules look at besides the event itself."""
        state = await self._events.get_state(room.state, [*_DECISIVE, (MEMBER, user_id)])
        member: Event | None = state.get((MEMBER, user_id))
        name = member.content.get("displayname") if member is not None else None
        return PushContext(
            user_id, name if isinstance(name, str) else None, room.joined_count, PowerLevels.of(state, room.version)
        )

    async def _load(self, user_id: str, rooms: Sequence[Room], up_to: int, rules: CompiledRuleset | None) -> None:
        by_id = {room.room_id: room for room in rooms}
        loaded = await self._database.read(_load_many, list(by_id), user_id, up_to)
        for room_id, known in loaded.items():
            if rules is not None:
                room = by_id[room_id]
                events = await self._database.read(load_newest, room_id, known.read.room, up_to, _MOST_EVALUATED)
                known.counts = {}
                for stored in events:
                    found = await self._judge(stored, user_id, room, rules)
                    if found is not None:
                        known.add(found)
            known.rules = rules
            self.cache.put((user_id, room_id), known)


def _load_many(connection: Connection, room_ids: Sequence[str], user_id: str, up_to: int) -> dict[str, _Known]:
    found: dict[str, _Known] = {}
    for room_id in room_ids:
        read = load_read_up_to(connection, room_id, user_id)
        known = found[room_id] = _Known(read, up_to)
        for event in load_unread(connection, room_id, user_id, read, 0, up_to):
            known.add(event)
    return found
