"""Follows the log and works out whom to notify of an event: by their own push rules, where they have pushers.

What comes out are rows in the pushers' queues; delivery takes it from there.

Spec: client-server-api #push-rules
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from homeserver.protocol.power_levels import PowerLevels
from homeserver.protocol.push_rules import EventProperties, PushContext
from homeserver.protocol.receipt import Standing
from homeserver.services.followers import PAUSE_IN_A_RUSH_S
from homeserver.services.rooms.room import MEMBER, Room
from homeserver.storage.pushers import Queued, queue_notifications

if TYPE_CHECKING:
    from homeserver.protocol.events import Event
    from homeserver.runtime.clock import Clock
    from homeserver.services.push.delivery import PushDelivery
    from homeserver.services.push.pushers import Pushers
    from homeserver.services.push_rules import PushRules
    from homeserver.services.rooms.event_store import EventStore
    from homeserver.services.rooms.room import Rooms
    from homeserver.storage.database import Database
    from homeserver.storage.events import StoredEvent

_DECISIVE = (("m.room.power_levels", ""), ("m.room.create", ""))


class IgnoredUsers(Protocol):
    """Knows whom a user ignores."""

    async def ignored_users(self, user_id: str) -> Collection[str]: ...


class PushNotifications:
    """A follower of the log."""

    name = "push"
    batch_size = 200
    pause_s = PAUSE_IN_A_RUSH_S

    def __init__(
        self,
        database: Database,
        rooms: Rooms,
        events: EventStore,
        push_rules: PushRules,
        ignored: IgnoredUsers,
        pushers: Pushers,
        delivery: PushDelivery,
        clock: Clock,
    ) -> None:
        self._database = database
        self._rooms = rooms
        self._events = events
        self._push_rules = push_rules
        self._ignored = ignored
        self._pushers = pushers
        self._delivery = delivery
        self._clock = clock

    @property
    def has_interest(self) -> bool:
        return bool(self._pushers.by_user)

    async def handle(self, events: Sequence[StoredEvent], up_to: int) -> None:
        """Queue what these events have to say to whom."""
        queued: list[Queued] = []
        for stored in events:
            if stored.standing is Standing.ACCEPTED and stored.redacted_by is None:
                queued.extend(await self._notifications_of(stored))
        if queued:
            await self._database.write(queue_notifications, queued)
            self._delivery.wake({one.pusher_nid for one in queued})

    async def _notifications_of(self, stored: StoredEvent) -> list[Queued]:
        event, position = stored.event, stored.position
        room = await self._rooms.find(event.room_id)
        if room is None or position is None:
            return []
        properties = EventProperties(event)
        queued: list[Queued] = []
        for user_id in self._candidates(room, event):
            if event.sender in await self._ignored.ignored_users(user_id):
                continue
            rules = await self._push_rules.compiled_for(user_id)
            outcome = rules.evaluate(properties, await self._context(user_id, room))
            if outcome.notify:
                tweaks, now_ms = _tweaks(outcome.actions), self._clock.now_ms()
                nids = self._pushers.by_user.get(user_id, ())
                queued.extend(Queued(nid, position, event.event_id, tweaks, now_ms) for nid in nids)
        return queued

    def _candidates(self, room: Room, event: Event) -> list[str]:
        """Members with pushers, and whoever is just being invited."""
        members, having = room.local_members, self._pushers.by_user
        smaller: Iterable[str] = members if len(members) < len(having) else having
        target = event.state_key if event.type == MEMBER else None
        return [
            user_id
            for user_id in list(smaller)
            if user_id in having and (members.get(user_id) == "join" or (user_id == target and user_id in members))
        ]

    async def _context(self, user_id: str, room: Room) -> PushContext:
        state = await self._events.get_state(room.state, [*_DECISIVE, (MEMBER, user_id)])
        member = state.get((MEMBER, user_id))
        name = member.content.get("displayname") if member is not None else None
        power_levels = PowerLevels.of(state, room.version)
        return PushContext(user_id, name if isinstance(name, str) else None, room.joined_count, power_levels)


def _tweaks(actions: Sequence[Any]) -> dict[str, Any]:
    """Spec: client-server-api #actions"""
    return {action["set_tweak"]: action.get("value", True) for action in actions if isinstance(action, dict)}
