"""The history of a user's notifications.

Spec: client-server-api #listing-notifications
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from homeserver.protocol.push_rules import CompiledRuleset
from homeserver.services.push.unread import PersonalPushRules, Unread
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import Rooms
from homeserver.storage.database import Database
from homeserver.storage.events import StoredEvent
from homeserver.storage.memberships import load_memberships
from homeserver.storage.notified_events import load_highlighted, load_notifying
from homeserver.storage.unread import MAIN, ReadUpTo, load_read_up_to

_NEWEST = 2**62
_HIGHLIGHT: list[Any] = ["notify", {"set_tweak": "highlight"}]
_PLAIN: list[Any] = ["notify"]


@dataclass(frozen=True, slots=True)
class Notified:
    """An event that notified a user, with the actions of the rule, and whether they have read it since."""

    stored: StoredEvent
    actions: Sequence[Any]
    read: bool


class NotificationHistory:
    """The use case behind `GET /notifications`."""

    def __init__(
        self, database: Database, rooms: Rooms, events: EventStore, unread: Unread, personal: PersonalPushRules
    ) -> None:
        self._database = database
        self._rooms = rooms
        self._events = events
        self._unread = unread
        self._personal = personal

    async def page(
        self, user_id: str, *, before: int | None, limit: int, only_highlights: bool
    ) -> tuple[list[Notified], int | None]:
        """Notifications before a position, newest first, and the position to go on from; None at the end."""
        memberships = await self._database.read(load_memberships, user_id)
        room_ids = [found.room_id for found in memberships if found.membership == "join"]
        rules = await self._personal.find_personal(user_id)
        loaded = await self._database.read(
            load_notifying, user_id, room_ids, before or _NEWEST, limit + 1, judge_all=rules is not None
        )
        page = self._events.prefer_cached(loaded[:limit])
        highlighted = await self._database.read(load_highlighted, user_id, [stored.event_id for stored in page])
        read: dict[str, ReadUpTo] = {}
        found: list[Notified] = []
        for stored in page:
            actions = await self._actions(user_id, stored, rules, highlighted)
            if not actions or (only_highlights and _HIGHLIGHT[1] not in actions):
                continue
            room_id = stored.event.room_id
            if room_id not in read:
                read[room_id] = await self._database.read(load_read_up_to, room_id, user_id)
            is_read = read[room_id].covers(stored.position or 0, stored.thread_root or MAIN)
            found.append(Notified(stored, actions, is_read))
        return found, page[-1].position if len(loaded) > limit and page else None

    async def _actions(
        self, user_id: str, stored: StoredEvent, rules: CompiledRuleset | None, highlighted: set[str]
    ) -> Sequence[Any]:
        if rules is None:
            return _HIGHLIGHT if stored.notify > 1 or stored.event_id in highlighted else _PLAIN
        room = await self._rooms.get(stored.event.room_id)
        outcome = rules.evaluate(stored.event, await self._unread.context(user_id, room))
        return outcome.actions if outcome.notify else []
