"""Follows the log and makes what people wrote findable; what was redacted is taken out again.

Spec: client-server-api #server-side-search
"""

from __future__ import annotations

from collections.abc import Sequence

from homeserver.protocol.events import Event
from homeserver.protocol.receipt import Standing
from homeserver.services.search.terms import index_terms
from homeserver.storage.database import Database, Transaction
from homeserver.storage.events import StoredEvent, load_events
from homeserver.storage.search import KINDS, Entry, add_entries, remove_entries

# Which key of which event's content is indexed.
_INDEXED = {
    "m.room.message": ("body", KINDS["content.body"]),
    "m.room.name": ("name", KINDS["content.name"]),
    "m.room.topic": ("topic", KINDS["content.topic"]),
}


class SearchIndex:
    """A follower of the log. A search waits for it, so it may take its time otherwise."""

    name = "search"
    batch_size = 500
    pause_s = 1.0

    def __init__(self, database: Database, *, enabled: bool) -> None:
        self._database = database
        self.has_interest = enabled

    async def handle(self, events: Sequence[StoredEvent], up_to: int) -> None:
        """Index these events."""
        accepted = [stored for stored in events if stored.standing is Standing.ACCEPTED]
        entries = [entry for stored in accepted if (entry := _entry(stored)) is not None]
        targets = [stored.event.redacts for stored in accepted if stored.event.redacts is not None]
        if entries or targets:
            await self._database.write(_store, entries, targets)


def _store(tx: Transaction, entries: Sequence[Entry], targets: Sequence[str]) -> None:
    if entries:
        add_entries(tx, entries)
    found = load_events(tx.connection, targets)
    remove_entries(tx, [stored.nid for stored in found.values() if stored.redacted_by is not None])


def _entry(stored: StoredEvent) -> Entry | None:
    text = findable_text(stored.event)
    if text is None or stored.redacted_by is not None:
        return None
    terms = index_terms(text[0])
    return Entry(stored.nid, stored.event.room_id, text[1], terms) if terms else None


def findable_text(event: Event) -> tuple[str, int] | None:
    """What of an event is indexed, and of which kind it is."""
    key, kind = _INDEXED.get(event.type, ("", 0))
    value = event.content.get(key) if key else None
    return (value, kind) if isinstance(value, str) else None
