"""Bundles what relates to an event into it: the newest edit, the outline of its thread, references.

Spec: client-server-api #aggregations-of-child-events
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from homeserver.protocol.relations import is_valid_edit
from homeserver.services.rooms.event_store import EventStore
from homeserver.storage.database import Database
from homeserver.storage.events import StoredEvent
from homeserver.storage.relations import Child, load_children

_BUNDLED = ("m.replace", "m.thread", "m.reference")

# What is bundled into one event, by relation type. Values may hold StoredEvents, which are rendered with it.
Bundle = dict[str, Any]


class Aggregations:
    """Finds what to bundle into events that are about to be shown."""

    def __init__(self, database: Database, events: EventStore) -> None:
        self._database = database
        self._events = events

    async def bundle(
        self, events: Sequence[StoredEvent], user_id: str, ignored: Collection[str] = ()
    ) -> Mapping[str, Bundle]:
        """The bundles of those events that have any, by event id. Redacted events and state events have none."""
        parents = {
            stored.event_id: stored
            for stored in events
            if stored.has_children is not False and not stored.event.is_state and stored.redacted_by is None
        }
        if not parents:
            return {}
        children = await self._database.read(load_children, list(parents), _BUNDLED)
        grouped: dict[str, dict[str, list[Child]]] = defaultdict(lambda: defaultdict(list))
        for child in children:
            if child.sender not in ignored:
                grouped[child.parent_id][child.rel_type].append(child)
        wanted = {child.event_id for child in children if child.rel_type in {"m.replace", "m.thread"}}
        found = await self._events.get_many(wanted)
        bundles: dict[str, Bundle] = {}
        for parent_id, by_type in grouped.items():
            bundle = self._bundle_one(parents[parent_id], by_type, found, user_id)
            if bundle:
                bundles[parent_id] = bundle
        await self._bundle_into_latest(bundles, user_id, ignored)
        return bundles

    def _bundle_one(
        self,
        parent: StoredEvent,
        children: Mapping[str, Sequence[Child]],
        found: Mapping[str, StoredEvent],
        user_id: str,
    ) -> Bundle:
        bundle: Bundle = {}
        edit = newest_edit(parent, [found[child.event_id] for child in children.get("m.replace", ())])
        if edit is not None:
            bundle["m.replace"] = edit
        replies = children.get("m.thread", ())
        if replies:
            senders = {child.sender for child in replies}
            bundle["m.thread"] = {
                "latest_event": found[replies[-1].event_id],
                "count": len(replies),
                "current_user_participated": user_id in senders or parent.event.sender == user_id,
            }
        references = children.get("m.reference", ())
        if references:
            bundle["m.reference"] = {"chunk": [{"event_id": child.event_id} for child in references]}
        return bundle

    async def _bundle_into_latest(self, bundles: Mapping[str, Bundle], user_id: str, ignored: Collection[str]) -> None:
        """The newest event of a thread is shown with its own newest edit."""
        threads = [bundle["m.thread"] for bundle in bundles.values() if "m.thread" in bundle]
        latest: list[StoredEvent] = [thread["latest_event"] for thread in threads]
        edited = [stored for stored in latest if stored.has_children is not False]
        if not edited:
            return
        children = await self._database.read(load_children, [stored.event_id for stored in edited], ("m.replace",))
        found = await self._events.get_many({child.event_id for child in children})
        for thread in threads:
            stored = thread["latest_event"]
            own = [
                found[child.event_id]
                for child in children
                if child.parent_id == stored.event_id and child.sender not in ignored
            ]
            edit = newest_edit(stored, own)
            if edit is not None:
                thread["latest_event"] = EditedEvent(stored, edit)


class EditedEvent:
    """An event together with its newest edit, to be rendered as one."""

    __slots__ = ("edit", "stored")

    def __init__(self, stored: StoredEvent, edit: StoredEvent) -> None:
        self.stored = stored
        self.edit = edit


def newest_edit(original: StoredEvent, edits: Sequence[StoredEvent]) -> StoredEvent | None:
    """The edit that counts: the newest valid one, ties broken by event id.

    Spec: client-server-api #server-side-aggregation-of-mreplace-relationships
    """
    valid = [edit for edit in edits if edit.redacted_by is None and is_valid_edit(original.event, edit.event)]
    return max(valid, key=lambda edit: (edit.event.origin_server_ts, edit.event_id), default=None)
