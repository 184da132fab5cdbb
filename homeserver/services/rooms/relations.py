"""Pages of events that relate to an event, and of a room's threads.

Spec: client-server-api #forming-relationships-between-events
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from homeserver.protocol.errors import invalid_param
from homeserver.services.rooms.client_events import Reader
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import Rooms
from homeserver.services.rooms.timeline import Timeline
from homeserver.services.rooms.visibility import Visibility
from homeserver.services.tokens import timeline_token
from homeserver.storage.database import Database
from homeserver.storage.events import StoredEvent
from homeserver.storage.relations import load_children, load_related, load_threads, load_threads_with

_DEEPEST = 3
_ALL_TYPES = ("m.annotation", "m.reference", "m.replace", "m.thread")


@dataclass(frozen=True, slots=True)
class RelatedPage:
    """A page of relations. `end` is None on the last one; `depth` says how far relations of relations were followed."""

    events: Sequence[StoredEvent]
    end: str | None
    depth: int | None


class Relations:
    """The use cases behind `/relations` and `/threads`."""

    def __init__(
        self, database: Database, rooms: Rooms, events: EventStore, visibility: Visibility, timeline: Timeline
    ) -> None:
        self._database = database
        self._rooms = rooms
        self._events = events
        self._visibility = visibility
        self._timeline = timeline

    async def related(
        self,
        reader: Reader,
        room_id: str,
        event_id: str,
        *,
        rel_type: str | None,
        event_type: str | None,
        start: str | None,
        stop: str | None,
        forwards: bool,
        recurse: bool,
        limit: int,
    ) -> RelatedPage:
        """Events that relate to one event, newest first unless `forwards`. Raises M_NOT_FOUND."""
        room = await self._rooms.get(room_id)
        viewer = await self._visibility.viewer(reader.user_id, room, or_world_readable=True)
        await self._timeline.find_visible(viewer, room, event_id)
        parents = await self._descendants(event_id) if recurse else [event_id]
        place = await self._timeline.place_of_token(room_id, start) if start is not None else None
        bound = await self._timeline.place_of_token(room_id, stop) if stop is not None else None
        loaded = await self._database.read(
            load_related,
            parents,
            rel_type=rel_type,
            event_type=event_type,
            start=place,
            forwards=forwards,
            limit=limit + 1,
        )
        rows = self._events.prefer_cached(loaded[:limit])
        if bound is not None:
            rows = [stored for stored in rows if (stored.place <= bound) == forwards]
        shown = [
            stored
            for stored in await self._visibility.visible(viewer, room, rows)
            if stored.event.sender not in reader.ignored and stored.redacted_by is None
        ]
        end = None
        if len(loaded) > limit and rows:
            end = timeline_token(rows[-1].place if forwards else rows[-1].place.before)
        return RelatedPage(shown, end, _DEEPEST if recurse else None)

    async def threads(
        self, reader: Reader, room_id: str, *, only_own: bool, start: str | None, limit: int
    ) -> tuple[Sequence[StoredEvent], str | None]:
        """Roots of the room's threads, the most recently active first, and the token of the next page."""
        room = await self._rooms.get(room_id)
        viewer = await self._visibility.viewer(reader.user_id, room, or_world_readable=True)
        before = _parse_thread_token(start) if start is not None else None
        shown: list[StoredEvent] = []
        while True:
            found = await self._database.read(load_threads, room_id, before=before, limit=limit + 1)
            page = found[:limit]
            roots = await self._events.get_many([root for root, _ in page])
            own = await self._database.read(load_threads_with, list(roots), reader.user_id) if only_own else set()
            for root_id, position in page:
                root = roots.get(root_id)
                before = position
                if root is None or root.position is None or root.event.room_id != room_id:
                    continue
                if only_own and root_id not in own and root.event.sender != reader.user_id:
                    continue
                if root.event.sender in reader.ignored:
                    continue
                shown.extend(await self._visibility.visible(viewer, room, [root]))
                if len(shown) == limit:
                    break
            more = len(found) > limit or (len(shown) == limit and page[-1][1] != before)
            if len(shown) == limit or not more:
                return shown, f"h{before}" if more and before is not None else None

    async def _descendants(self, event_id: str) -> list[str]:
        """The event and what relates to it, and what relates to that, down to a fixed depth."""
        known = [event_id]
        level = [event_id]
        for _ in range(_DEEPEST - 1):
            children = await self._database.read(load_children, level, _ALL_TYPES)
            level = [child.event_id for child in children if child.event_id not in known]
            if not level:
                break
            known.extend(level)
        return known


def _parse_thread_token(token: str) -> int:
    number = token[1:]
    if not token.startswith("h") or not (number.isascii() and number.isdigit() and len(number) <= 19):
        raise invalid_param("This token did not come from this list.")
    return int(number)
