"""Events by id, from memory where possible.

The newest events come in from the commits of this process, all others from the database when asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.relations import relation_of
from homeserver.runtime.bounded_cache import BoundedCache
from homeserver.storage.changes import Change
from homeserver.storage.database import Database
from homeserver.storage.events import StoredEvent, load_events
from homeserver.storage.room_log import Appended


class EventStore:
    """At most `cache_bytes` of events in memory."""

    def __init__(self, database: Database, cache_bytes: int) -> None:
        self._database = database
        self.cache: BoundedCache[str, StoredEvent] = BoundedCache("events", cache_bytes, lambda stored: stored.size)

    async def find(self, event_id: str) -> StoredEvent | None:
        """One event, whatever its standing."""
        stored = self.cache.find(event_id)
        return stored if stored is not None else (await self.get_many([event_id])).get(event_id)

    async def get_many(self, event_ids: Collection[str]) -> dict[str, StoredEvent]:
        """The known events among `event_ids`, by id, in no particular order."""
        found: dict[str, StoredEvent] = {}
        missing: list[str] = []
        for event_id in event_ids:
            stored = self.cache.find(event_id)
            if stored is None:
                missing.append(event_id)
            else:
                found[event_id] = stored
        if missing:
            loaded = await self._database.read(load_events, missing)
            for event_id, stored in loaded.items():
                self.cache.put(event_id, stored)
            found.update(loaded)
        return found

    async def get_state(self, state: Mapping[StateKey, str], keys: Iterable[StateKey]) -> dict[StateKey, Event]:
        """The events that hold `keys` in a state map; keys without an entry are left out."""
        wanted = {key: state[key] for key in keys if key in state}
        found = await self.get_many(wanted.values())
        return {key: found[event_id].event for key, event_id in wanted.items() if event_id in found}

    def prefer_cached(self, loaded: Sequence[StoredEvent]) -> list[StoredEvent]:
        """The same events, each as the object in memory where there is one, so that its client form is reused."""
        kept = []
        for stored in loaded:
            known = self.cache.find(stored.event_id)
            if known is None or known.position != stored.position:
                # Unknown, or known from before it had its place.
                self.cache.put(stored.event_id, stored)
                known = stored
            kept.append(known)
        return kept

    def follow(self, changes: Sequence[Change]) -> None:
        """Keep what was just committed, and redact what it redacts."""
        for change in changes:
            if not isinstance(change.detail, Appended):
                if change.subject == "event":
                    # Something was written, redacted or related to, and nobody says what.
                    self.cache.clear()
                continue
            for stored in change.detail.events:
                stored.has_children = False
                self.cache.put(stored.event_id, stored)
                self._mark_parent(stored.event)
            for target, redaction in change.detail.redactions.items():
                self.redact(target, redaction)

    def _mark_parent(self, event: Event) -> None:
        relation = relation_of(event.content)
        parent = self.cache.find(relation.event_id) if relation is not None else None
        if parent is not None:
            parent.has_children = True

    def redact(self, event_id: str, redaction: Event) -> None:
        """Show an event in memory as redacted."""
        stored = self.cache.find(event_id)
        if stored is not None:
            stored.redacted_by = redaction
            stored.client_json = None
