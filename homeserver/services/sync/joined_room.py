"""A joined room's part of a sync: timeline, state, receipts and typing, counts.

Spec: client-server-api #syncing
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from homeserver.protocol.events import StateKey
from homeserver.protocol.sync_filters import apply_event_fields
from homeserver.services.push.unread import Count, UnreadCounts
from homeserver.services.rooms.client_events import ClientEvents
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.filters import accepts
from homeserver.services.rooms.room import MEMBER, Room
from homeserver.services.rooms.state_groups import StateGroups
from homeserver.services.rooms.visibility import Viewer
from homeserver.services.sync.ephemeral_events import receipts_content
from homeserver.services.sync.heroes import Heroes
from homeserver.services.sync.lazy_members import LazyMembers
from homeserver.services.sync.newest_events import NewestEvents, TimelinePart
from homeserver.services.sync.request import Span
from homeserver.services.typing import Typing
from homeserver.storage.events import StoredEvent
from homeserver.storage.receipts import Receipt

_DEFAULT_LIMIT = 10


@dataclass(frozen=True, slots=True)
class RoomPart:
    """What a room adds to a sync, and the membership changes in it that concern device lists."""

    body: dict[str, Any]
    has_news: bool
    membership_changes: Mapping[str, str]


class JoinedRooms:
    """Builds the parts for rooms the user is joined to."""

    def __init__(
        self,
        newest: NewestEvents,
        heroes: Heroes,
        events: EventStore,
        groups: StateGroups,
        client_events: ClientEvents,
        typing: Typing,
    ) -> None:
        self._newest = newest
        self._heroes = heroes
        self._events = events
        self._groups = groups
        self._client_events = client_events
        self._typing = typing
        self._lazy = LazyMembers()

    async def build(
        self,
        span: Span,
        room: Room,
        viewer: Viewer,
        *,
        after: int,
        receipts: Iterable[Receipt],
        account_data: Sequence[tuple[str, bytes]],
        unread: UnreadCounts | None,
        up_to: int | None = None,
    ) -> RoomPart:
        """The part of one room. `after` is 0 for a room the client does not have yet; `up_to` ends it early."""
        wanted = span.request.filter.room
        timeline = await self._timeline(span, room, viewer, after, span.up_to if up_to is None else up_to)
        whole = after == 0 or span.request.full_state
        state = await self._state(span, room, timeline, after, whole)
        ephemeral = self._ephemeral(span, room, receipts, whole)
        body: dict[str, Any] = {
            "timeline": {
                "events": await self._rendered(span, timeline.events),
                "limited": timeline.limited,
                "prev_batch": timeline.prev_batch,
            },
            "ephemeral": {
                "events": [event for event in ephemeral if wanted.ephemeral.accepts(event["type"], None, room.room_id)]
            },
            "account_data": {
                "events": [
                    {"type": kind, "content": orjson.Fragment(content)}
                    for kind, content in account_data
                    if wanted.account_data.accepts(kind, None, room.room_id)
                ]
            },
        }
        shown_state = [stored for stored in state if accepts(wanted.state, stored)]
        name = "state_after" if span.request.use_state_after else "state"
        body[name] = {"events": self._plain(span, shown_state)}
        changes = _membership_changes([*state, *timeline.events])
        if whole or changes:
            summary = await self._summary(span, room)
            body["summary"] = summary
        if unread is not None:
            body.update(_counts(unread, wanted.timeline.unread_thread_notifications))
        has_news = bool(timeline.events or timeline.limited or shown_state or ephemeral or account_data)
        return RoomPart(body, has_news, changes)

    # Timeline

    async def _timeline(self, span: Span, room: Room, viewer: Viewer, after: int, up_to: int) -> TimelinePart:
        wanted = span.request.filter.room.timeline
        limit = _DEFAULT_LIMIT if wanted.limit is None else wanted.limit
        return await self._newest.read(room, viewer, wanted, limit, span.reader.ignored, after=after, up_to=up_to)

    async def _rendered(self, span: Span, events: Sequence[StoredEvent]) -> list[Any]:
        if span.request.filter.event_format == "federation":
            return [_federation_format(stored) for stored in events]
        rendered = await self._client_events.render(events, span.reader, with_room_id=False)
        return _with_fields(rendered, span)

    def _plain(self, span: Span, events: Sequence[StoredEvent]) -> list[Any]:
        if span.request.filter.event_format == "federation":
            return [_federation_format(stored) for stored in events]
        return _with_fields(self._client_events.render_plain(events, span.reader, with_room_id=False), span)

    # State

    async def _state(
        self, span: Span, room: Room, timeline: TimelinePart, after: int, whole: bool
    ) -> list[StoredEvent]:
        wanted = span.request.filter.room.state
        at_end = span.request.use_state_after
        if whole:
            target = await self._state_at(room, timeline, span.up_to, at_end=at_end)
            known: Mapping[StateKey, str] = {}
        elif timeline.limited or not room.followed_since(after) or at_end:
            target = await self._state_at(room, timeline, span.up_to, at_end=at_end)
            known = await self._groups.load_at(room.room_id, after)
        else:
            target = known = {}
        changed = {key: event_id for key, event_id in target.items() if known.get(key) != event_id}
        if wanted.lazy_load_members:
            changed = await self._only_needed_members(span, room, timeline, changed, whole)
        found = await self._events.get_many(changed.values())
        return [found[event_id] for event_id in changed.values() if event_id in found]

    async def _state_at(
        self, room: Room, timeline: TimelinePart, up_to: int, *, at_end: bool
    ) -> Mapping[StateKey, str]:
        if at_end or timeline.first is None:
            return room.state if room.latest_position <= up_to else await self._groups.load_at(room.room_id, up_to)
        before = timeline.first.state_before
        return room.state if before == room.state_group else await self._groups.load(before)

    async def _only_needed_members(
        self, span: Span, room: Room, timeline: TimelinePart, changed: Mapping[StateKey, str], whole: bool
    ) -> dict[StateKey, str]:
        """Members who are needed to show the timeline, unless the device has been told of them."""
        wanted = span.request.filter.room.state
        device = span.request.device_id or ""
        if whole:
            self._lazy.forget(span.reader.user_id, device, room.room_id)
        needed = {stored.event.sender for stored in timeline.events}
        if whole:
            needed |= {span.reader.user_id, *await self._heroes_of(span, room)}
        if not wanted.include_redundant_members:
            needed = self._lazy.unsent(span.reader.user_id, device, room.room_id, needed)
        in_timeline = {stored.event.state_key for stored in timeline.events if stored.event.type == MEMBER}
        members = {(MEMBER, user_id): room.state.get((MEMBER, user_id)) for user_id in needed - in_timeline}
        kept = {key: event_id for key, event_id in changed.items() if key[0] != MEMBER}
        if not whole:
            kept.update({key: event_id for key, event_id in changed.items() if key[0] == MEMBER})
        kept.update({key: event_id for key, event_id in members.items() if event_id is not None})
        return kept

    # The rest

    async def _summary(self, span: Span, room: Room) -> dict[str, Any]:
        summary: dict[str, Any] = {
            "m.joined_member_count": room.members.joined,
            "m.invited_member_count": room.members.invited,
        }
        heroes = await self._heroes_of(span, room)
        if heroes:
            summary["m.heroes"] = heroes
        return summary

    async def _heroes_of(self, span: Span, room: Room) -> list[str]:
        return [] if room.has_name else await self._heroes.of(room, span.reader.user_id)

    def _ephemeral(self, span: Span, room: Room, receipts: Iterable[Receipt], whole: bool) -> list[dict[str, Any]]:
        events = []
        content = receipts_content(receipts, span.reader.user_id)
        if content:
            events.append({"type": "m.receipt", "content": content})
        changed_at = self._typing.changed_at(room.room_id)
        if changed_at > span.ephemeral_after or whole:
            users = self._typing.users_in(room.room_id)
            if users or not whole:
                events.append({"type": "m.typing", "content": {"user_ids": users}})
        return events


def _counts(unread: UnreadCounts, by_thread: bool) -> dict[str, Any]:
    if not by_thread:
        return {"unread_notifications": _count(unread.total)}
    body: dict[str, Any] = {"unread_notifications": _count(unread.main)}
    if unread.threads:
        body["unread_thread_notifications"] = {root: _count(count) for root, count in unread.threads.items()}
    return body


def _count(count: Count) -> dict[str, int]:
    return {"notification_count": count.notifications, "highlight_count": count.highlights}


def _membership_changes(events: Iterable[StoredEvent]) -> dict[str, str]:
    return {
        stored.event.state_key: stored.event.membership or "leave"
        for stored in events
        if stored.event.type == MEMBER and stored.event.state_key is not None
    }


def _federation_format(stored: StoredEvent) -> dict[str, Any]:
    event = stored.event if stored.redacted_by is None else stored.event.redacted(stored.redacted_by)
    return {**event.pdu, "event_id": stored.event_id}


def _with_fields(rendered: list[orjson.Fragment], span: Span) -> list[Any]:
    fields = span.request.filter.event_fields
    if fields is None:
        return list(rendered)
    return [apply_event_fields(orjson.loads(orjson.dumps(event)), fields) for event in rendered]
