"""The newest events of a room that a reader may see, from memory where it reaches back far enough.

Spec: client-server-api #syncing
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from homeserver.protocol.sync_filters import EventFilter
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.filters import accepts
from homeserver.services.rooms.room import Room
from homeserver.services.rooms.visibility import Viewer, Visibility
from homeserver.services.tokens import SyncToken, timeline_token
from homeserver.storage.database import Database
from homeserver.storage.events import StoredEvent, load_newest

_MOST_EVENTS = 100


@dataclass(frozen=True, slots=True)
class TimelinePart:
    """The newest events of a room. `limited`: there are older ones that the client has not seen."""

    events: Sequence[StoredEvent]
    limited: bool
    prev_batch: str
    first: StoredEvent | None


class NewestEvents:
    """Reads the ends of timelines."""

    def __init__(self, database: Database, events: EventStore, visibility: Visibility) -> None:
        self._database = database
        self._events = events
        self._visibility = visibility

    async def read(
        self,
        room: Room,
        viewer: Viewer,
        wanted: EventFilter,
        limit: int,
        ignored: Collection[str],
        *,
        after: int,
        up_to: int,
    ) -> TimelinePart:
        """At most `limit` (and never more than 100) events with `after` < position <= `up_to`, oldest first."""
        limit = min(limit, _MOST_EVENTS)
        found: list[StoredEvent] = []
        end = up_to
        limited = False
        first: StoredEvent | None = None
        while True:
            newest = await self.everything(room, after, end, limit + 1)
            exhausted = len(newest) <= limit
            chosen = [] if limit == 0 else newest[-limit:]
            visible = await self._visibility.visible(viewer, room, chosen)
            kept = [stored for stored in visible if accepts(wanted, stored, ignored)]
            found = [*kept, *found]
            first = chosen[0] if chosen else first
            if exhausted or limit == 0 or len(found) >= limit or wanted.accepts_every_event:
                limited = not exhausted or len(found) > limit
                break
            end = (chosen[0].position or 0) - 1
        if len(found) > limit:
            found = found[len(found) - limit :]
            first = found[0] if found else first
        if limit == 0:
            limited = bool(newest)
        if first is not None and first.position is not None:
            prev_batch = timeline_token(first.place.before)
        else:
            prev_batch = str(SyncToken(up_to, 0, up_to))
        return TimelinePart(found, limited, prev_batch, first)

    async def everything(self, room: Room, after: int, up_to: int, limit: int) -> Sequence[StoredEvent]:
        """The newest `limit` events with `after` < position <= `up_to`, whoever may see them, oldest first."""
        newest = room.newest(after, up_to, limit)
        if newest is not None:
            return newest
        return self._events.prefer_cached(await self._database.read(load_newest, room.room_id, after, up_to, limit))
