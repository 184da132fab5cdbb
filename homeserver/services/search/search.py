"""Finds messages, names and topics in the rooms a user is in, and in the rooms that came before those.

Spec: client-server-api #server-side-search
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import orjson

from homeserver.protocol.errors import invalid_param, unrecognized
from homeserver.protocol.sync_filters import EventFilter
from homeserver.services.followers import Followers
from homeserver.services.rooms.client_events import ClientEvents, Reader
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.filters import accepts
from homeserver.services.rooms.read_room import ReadRoom
from homeserver.services.rooms.room import Rooms
from homeserver.services.rooms.timeline import Context, Timeline
from homeserver.services.rooms.visibility import Visibility
from homeserver.services.search.index import SearchIndex
from homeserver.services.search.terms import query_terms, words_of
from homeserver.services.sync.request import UserNews
from homeserver.storage.database import Database
from homeserver.storage.events import StoredEvent, load_events_by_nid
from homeserver.storage.search import KINDS, Hit, SearchQuery, count_matches, find_best, find_newest

_MOST_ROUNDS = 10
_MOST_PREDECESSORS = 10
_HITS_AT_ONCE = 50
MOST_RESULTS = 100
SEARCHABLE_KEYS = tuple(KINDS)


@dataclass(frozen=True, slots=True)
class EventContext:
    """How much around each result is asked for."""

    before: int
    after: int
    with_profiles: bool


@dataclass(frozen=True, slots=True)
class Criteria:
    """What is searched for. `group_by` holds "room_id" and "sender"."""

    search_term: str
    keys: Sequence[str]
    filter: EventFilter
    by_rank: bool
    context: EventContext | None
    include_state: bool
    group_by: Sequence[str]


class Token(NamedTuple):
    """Where the next batch begins, and for one group alone, which that is."""

    at: int
    group: str = ""
    value: str = ""

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(orjson.dumps(list(self))).decode().rstrip("=")


class Found(NamedTuple):
    """One result."""

    event: StoredEvent
    rank: float


class Search:
    """The use case behind `POST /search`."""

    def __init__(
        self,
        database: Database,
        followers: Followers,
        index: SearchIndex,
        rooms: Rooms,
        events: EventStore,
        read: ReadRoom,
        timeline: Timeline,
        visibility: Visibility,
        client_events: ClientEvents,
        users: UserNews,
    ) -> None:
        self._database = database
        self._followers = followers
        self._index = index
        self._rooms = rooms
        self._events = events
        self._read = read
        self._timeline = timeline
        self._visibility = visibility
        self._client_events = client_events
        self._users = users

    async def room_events(
        self, user_id: str, device_id: str | None, criteria: Criteria, next_batch: str | None
    ) -> dict[str, Any]:
        """The `room_events` category of the answer."""
        if not self._index.has_interest:
            raise unrecognized("Search is switched off on this server.")
        token = parse_token(next_batch) if next_batch is not None else Token(0)
        ignored = await self._users.ignored_users(user_id)
        reader = Reader(user_id, device_id, ignored)
        room_ids = await self._searchable_rooms(user_id, criteria.filter, token)
        terms = query_terms(criteria.search_term)
        if not terms or not room_ids:
            return {"count": 0, "highlights": [], "results": []}
        await self._followers.caught_up(self._index.name)
        query = SearchQuery(terms, room_ids, [KINDS[key] for key in criteria.keys])
        found, at = await self._find(reader, query, criteria, token)
        answer: dict[str, Any] = {
            "count": await self._database.read(count_matches, query),
            "highlights": words_of(criteria.search_term),
            "results": await self._results(found, reader, criteria),
        }
        if at is not None:
            answer["next_batch"] = str(token._replace(at=at))
        if criteria.include_state:
            answer["state"] = {
                room_id: self._client_events.render_plain(await self._read.state(user_id, room_id), reader)
                for room_id in {one.event.event.room_id for one in found}
            }
        if criteria.group_by:
            answer["groups"] = {group: _group(found, group, at) for group in criteria.group_by}
        return answer

    async def _searchable_rooms(self, user_id: str, wanted: EventFilter, token: Token) -> list[str]:
        rooms = dict.fromkeys(await self._read.joined_rooms(user_id))
        if wanted.rooms is not None:
            # Of those asked for also the ones the user has left: they may still read what they saw.
            rooms = {room_id: None for room_id in wanted.rooms if await self._has_been_in(user_id, room_id)}
        for room_id in list(rooms):
            rooms.update(dict.fromkeys(await self._predecessors(user_id, room_id)))
        if token.group == "room_id":
            return [token.value] if token.value in rooms else []
        return [room_id for room_id in rooms if room_id not in wanted.not_rooms]

    async def _has_been_in(self, user_id: str, room_id: str) -> bool:
        room = await self._rooms.find(room_id)
        return room is not None and await self._visibility.find_viewer(user_id, room) is not None

    async def _predecessors(self, user_id: str, room_id: str) -> list[str]:
        """The rooms that were upgraded to this one, as far as the user was in them."""
        found: list[str] = []
        for _ in range(_MOST_PREDECESSORS):
            room = await self._rooms.find(room_id)
            event_id = room.state.get(("m.room.create", "")) if room is not None else None
            create = await self._events.find(event_id) if event_id is not None else None
            before = create.event.content.get("predecessor") if create is not None else None
            room_id = before.get("room_id", "") if isinstance(before, dict) else ""
            if not isinstance(room_id, str) or room_id in found or not await self._has_been_in(user_id, room_id):
                break
            found.append(room_id)
        return found

    async def _find(
        self, reader: Reader, query: SearchQuery, criteria: Criteria, token: Token
    ) -> tuple[list[Found], int | None]:
        """Up to a page of results, and where the next begins; None when there are no more."""
        limit = min(criteria.filter.limit or 10, MOST_RESULTS)
        # The query names the rooms already, those before an upgrade among them.
        wanted = replace(criteria.filter, rooms=None)
        found: list[Found] = []
        at = token.at
        for _ in range(_MOST_ROUNDS):
            if criteria.by_rank:
                hits = await self._database.read(find_best, query, at, _HITS_AT_ONCE)
            else:
                hits = await self._database.read(find_newest, query, at or None, _HITS_AT_ONCE)
            events = await self._visible(reader, hits)
            for number, hit in enumerate(hits):
                at = at + 1 if criteria.by_rank else hit.event_nid
                stored = events.get(hit.event_nid)
                if stored is None or not accepts(wanted, stored, reader.ignored):
                    continue
                if token.group == "sender" and stored.event.sender != token.value:
                    continue
                found.append(Found(stored, hit.rank))
                if len(found) == limit:
                    is_last = number == len(hits) - 1 and len(hits) < _HITS_AT_ONCE
                    return found, None if is_last else at
            if len(hits) < _HITS_AT_ONCE:
                return found, None
        return found, at

    async def _visible(self, reader: Reader, hits: Sequence[Hit]) -> dict[int, StoredEvent]:
        loaded = await self._database.read(load_events_by_nid, [hit.event_nid for hit in hits])
        by_room: dict[str, list[StoredEvent]] = {}
        for stored in loaded:
            if stored.redacted_by is None:
                by_room.setdefault(stored.event.room_id, []).append(stored)
        visible: dict[int, StoredEvent] = {}
        for room_id, events in by_room.items():
            room = await self._rooms.get(room_id)
            viewer = await self._visibility.find_viewer(reader.user_id, room)
            if viewer is not None:
                shown = await self._visibility.visible(viewer, room, events)
                visible.update((stored.nid, stored) for stored in shown)
        return visible

    async def _results(self, found: Sequence[Found], reader: Reader, criteria: Criteria) -> list[dict[str, Any]]:
        rendered = await self._client_events.render([one.event for one in found], reader)
        results: list[dict[str, Any]] = []
        for one, event in zip(found, rendered, strict=True):
            result: dict[str, Any] = {"rank": one.rank, "result": event}
            if criteria.context is not None:
                result["context"] = await self._context(one.event, reader, criteria.context)
            results.append(result)
        return results

    async def _context(self, stored: StoredEvent, reader: Reader, wanted: EventContext) -> dict[str, Any]:
        event = stored.event
        limits = (wanted.before, wanted.after)
        around = await self._timeline.context(
            reader.user_id, event.room_id, event.event_id, limits, EventFilter(), frozenset(reader.ignored)
        )
        context: dict[str, Any] = {
            "events_before": await self._client_events.render(around.before, reader),
            "events_after": await self._client_events.render(around.after, reader),
            "start": around.start,
            "end": around.end,
        }
        if wanted.with_profiles:
            context["profile_info"] = _profiles(around)
        return context


def parse_token(text: str) -> Token:
    """Raises M_INVALID_PARAM."""
    try:
        at, group, value = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        raise invalid_param("This next_batch did not come from a search.") from None
    if type(at) is not int or not 0 <= at < 2**62 or not isinstance(group, str) or not isinstance(value, str):
        raise invalid_param("This next_batch did not come from a search.")
    return Token(at, group, value)


def _profiles(around: Context) -> dict[str, dict[str, Any]]:
    """How the senders were called at the time, as the state at the newest event tells."""
    senders = {stored.event.sender for stored in (*around.before, around.event, *around.after)}
    profiles: dict[str, dict[str, Any]] = {}
    for stored in around.state:
        event = stored.event
        if event.type == "m.room.member" and event.state_key in senders and event.state_key is not None:
            content = event.content
            profiles[event.state_key] = {key: content[key] for key in ("displayname", "avatar_url") if content.get(key)}
    return profiles


def _group(found: Sequence[Found], group: str, at: int | None) -> dict[str, dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = {}
    for order, one in enumerate(found):
        event = one.event.event
        value = event.room_id if group == "room_id" else event.sender
        part = groups.setdefault(value, {"order": order, "results": []})
        part["results"].append(event.event_id)
        if at is not None:
            part["next_batch"] = str(Token(at, group, value))
    return groups
