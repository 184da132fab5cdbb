"""Reads a room's timeline: pages of messages, an event in its context, the event nearest to a date.

Spec: client-server-api #getting-events-for-a-room
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from homeserver.protocol.errors import not_found
from homeserver.protocol.events import StateKey
from homeserver.protocol.receipt import Standing
from homeserver.protocol.sync_filters import EventFilter
from homeserver.services.remote_servers import EventInTime, RemoteServers
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.filters import accepts
from homeserver.services.rooms.room import MEMBER, Room, Rooms
from homeserver.services.rooms.state_groups import StateGroups
from homeserver.services.rooms.visibility import Viewer, Visibility
from homeserver.services.tokens import SyncToken, parse_timeline_token, timeline_token
from homeserver.storage.database import Database
from homeserver.storage.events import Place, StoredEvent, find_closest, find_last_place, load_page

_BEGINNING = Place(-1, 0)
_END = Place(2**62, 2**62)
_MOST_ROUNDS = 10
_MOST_EVENTS = 1_000


@dataclass(frozen=True, slots=True)
class Page:
    """Events in the order asked for. `end` is None when there is nothing beyond. `state` holds the senders' members."""

    start: str
    end: str | None
    events: Sequence[StoredEvent]
    state: Sequence[StoredEvent]


@dataclass(frozen=True, slots=True)
class Context:
    """An event with what surrounds it. `before` is newest first, `after` oldest first."""

    event: StoredEvent
    before: Sequence[StoredEvent]
    after: Sequence[StoredEvent]
    start: str
    end: str
    state: Sequence[StoredEvent]


class Timeline:
    """The use cases behind `/messages`, `/context` and `/timestamp_to_event`."""

    def __init__(
        self,
        database: Database,
        rooms: Rooms,
        events: EventStore,
        groups: StateGroups,
        visibility: Visibility,
        remote: RemoteServers,
    ) -> None:
        self._database = database
        self._rooms = rooms
        self._events = events
        self._groups = groups
        self._visibility = visibility
        self._remote = remote

    async def messages(
        self,
        user_id: str,
        room_id: str,
        *,
        start: str | None,
        stop: str | None,
        forwards: bool,
        limit: int,
        wanted: EventFilter,
        ignored: frozenset[str],
    ) -> Page:
        """A page of the timeline. `start` and `stop` are tokens; without `start` it begins at the near end."""
        room = await self._rooms.get(room_id)
        viewer = await self._visibility.viewer(user_id, room, or_world_readable=True)
        place = await self._start(room, viewer, start, forwards)
        bound = await self._place_of(room, stop) if stop is not None else None
        found: list[StoredEvent] = []
        at = place
        exhausted = False
        for _ in range(_MOST_ROUNDS):
            rows = await self._database.read(load_page, room_id, at, forwards=forwards, limit=min(limit, _MOST_EVENTS))
            if not forwards and len(rows) < limit and await self._remote.backfill(room_id, limit):
                continue
            page = _up_to(self._events.prefer_cached(rows), bound, forwards)
            exhausted = len(page) < limit
            for stored in await self._visibility.visible(viewer, room, page):
                at = stored.place if forwards else stored.place.before
                if accepts(wanted, stored, ignored):
                    found.append(stored)
                    if len(found) == limit:
                        break
            if len(found) >= limit or exhausted:
                break
            at = page[-1].place if forwards else page[-1].place.before
        done = exhausted and len(found) < limit
        token = start if start is not None else timeline_token(place)
        state = await self.members_of_senders(room, found) if wanted.lazy_load_members else []
        return Page(token, None if done else timeline_token(at), found, state)

    async def context(
        self,
        user_id: str,
        room_id: str,
        event_id: str,
        limits: tuple[int, int],
        wanted: EventFilter,
        ignored: frozenset[str],
    ) -> Context:
        """The events around one event, at most so many before and after it, and the room's state at the newest.

        Raises M_NOT_FOUND.
        """
        room = await self._rooms.get(room_id)
        viewer = await self._visibility.viewer(user_id, room, or_world_readable=True)
        event = await self.find_visible(viewer, room, event_id)
        before = await self._near(viewer, room, event.place.before, False, limits[0], wanted, ignored)
        after = await self._near(viewer, room, event.place, True, limits[1], wanted, ignored)
        last = after[-1] if after else event
        shown = [*before, event, *after]
        state = await self._groups.load(last.state_after)
        if wanted.lazy_load_members:
            senders = {(MEMBER, stored.event.sender) for stored in shown}
            state = {key: id_ for key, id_ in state.items() if key[0] != MEMBER or key in senders}
        held = await self._events.get_many(state.values())
        first = before[-1] if before else event
        return Context(
            event, before, after, timeline_token(first.place.before), timeline_token(last.place), list(held.values())
        )

    async def find_visible(self, viewer: Viewer, room: Room, event_id: str) -> StoredEvent:
        """An event the viewer may see. Raises M_NOT_FOUND for all others alike."""
        stored = await self._events.find(event_id)
        if (
            stored is None
            or stored.position is None
            or stored.standing is Standing.REJECTED
            or stored.event.room_id != room.room_id
            or not await self._visibility.visible(viewer, room, [stored])
        ):
            raise not_found("There is no such event, or you may not see it.")
        return stored

    async def closest_to(self, user_id: str, room_id: str, timestamp_ms: int, *, forwards: bool) -> EventInTime:
        """The event sent nearest to a time, which need not be here yet. Raises M_NOT_FOUND."""
        room = await self._rooms.get(room_id)
        viewer = await self._visibility.viewer(user_id, room, or_world_readable=True)
        stored = await self._database.read(find_closest, room_id, timestamp_ms, forwards=forwards)
        found = EventInTime(stored.event_id, stored.event.origin_server_ts) if stored is not None else None
        remote = await self._remote.find_event_in_time(room_id, timestamp_ms, forwards=forwards)
        if remote is not None and _is_nearer(remote, found, timestamp_ms):
            found, stored = remote, await self._events.find(remote.event_id)
        if found is None or (stored is not None and not await self._visibility.visible(viewer, room, [stored])):
            raise not_found("There is no event on that side of this time.")
        return found

    async def members_of_senders(self, room: Room, events: Iterable[StoredEvent]) -> list[StoredEvent]:
        """The current member events of those who sent `events`."""
        keys: set[StateKey] = {(MEMBER, stored.event.sender) for stored in events}
        held = await self._events.get_many([room.state[key] for key in keys if key in room.state])
        return list(held.values())

    async def place_of_token(self, room_id: str, token: str) -> Place | None:
        """Where a token stands in a room's timeline; None before its first event."""
        parsed = parse_timeline_token(token)
        if isinstance(parsed, SyncToken):
            return await self._database.read(find_last_place, room_id, parsed.position)
        return parsed

    async def _start(self, room: Room, viewer: Viewer, token: str | None, forwards: bool) -> Place:
        if token is not None:
            place = await self._place_of(room, token)
        else:
            place = _BEGINNING if forwards else _END
        if viewer.left_at is not None and not forwards:
            last = await self._database.read(find_last_place, room.room_id, viewer.left_at)
            if last is not None:
                place = min(place, last)
        return place

    async def _place_of(self, room: Room, token: str) -> Place:
        return await self.place_of_token(room.room_id, token) or _BEGINNING

    async def _near(
        self,
        viewer: Viewer,
        room: Room,
        place: Place,
        forwards: bool,
        limit: int,
        wanted: EventFilter,
        ignored: frozenset[str],
    ) -> list[StoredEvent]:
        if limit == 0:
            return []
        rows = await self._database.read(load_page, room.room_id, place, forwards=forwards, limit=limit)
        visible = await self._visibility.visible(viewer, room, self._events.prefer_cached(rows))
        return [stored for stored in visible if accepts(wanted, stored, ignored)]


def _up_to(events: list[StoredEvent], bound: Place | None, forwards: bool) -> list[StoredEvent]:
    if bound is None:
        return events
    if forwards:
        return [stored for stored in events if stored.place <= bound]
    return [stored for stored in events if stored.place > bound]


def _is_nearer(one: EventInTime, other: EventInTime | None, timestamp_ms: int) -> bool:
    if other is None:
        return True
    return abs(one.origin_server_ts - timestamp_ms) < abs(other.origin_server_ts - timestamp_ms)
