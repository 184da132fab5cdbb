"""Which events relate to which: reactions, edits, threads, references.

Rows point at their parent by event id, because a relation may arrive before what it relates to.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, bindparam, func, or_, select

from homeserver.storage.events import STORED_EVENTS, VISIBLE, Place, StoredEvent, batched_list, unpack_events
from homeserver.storage.tables.events import event_relations, events
from homeserver.storage.tables.rooms import rooms


class Child(NamedTuple):
    """A relation as aggregations need it. `event_nid` leads to the event itself."""

    parent_id: str
    event_id: str
    rel_type: str
    type: str
    sender: str
    key: str | None
    place: Place


_alive = and_(VISIBLE, events.c.redacted_by_nid.is_(None))
_CHILDREN = (
    select(
        event_relations.c.parent_event_id,
        events.c.event_id,
        event_relations.c.rel_type,
        event_relations.c.type,
        event_relations.c.sender,
        event_relations.c.aggregation_key,
        events.c.depth,
        events.c.position,
    )
    .join(events, events.c.nid == event_relations.c.child_nid)
    .where(
        event_relations.c.parent_event_id.in_(bindparam("parents", expanding=True)),
        event_relations.c.rel_type.in_(bindparam("rel_types", expanding=True)),
        _alive,
    )
    .order_by(events.c.depth, events.c.position)
)
_HAS_ANNOTATION = (
    select(event_relations.c.child_nid)
    .join(events, events.c.nid == event_relations.c.child_nid)
    .where(
        event_relations.c.parent_event_id == bindparam("parent"),
        event_relations.c.rel_type == "m.annotation",
        event_relations.c.type == bindparam("event_type"),
        event_relations.c.sender == bindparam("sender"),
        event_relations.c.aggregation_key == bindparam("key"),
        _alive,
    )
    .limit(1)
)
_RELATED = STORED_EVENTS.join(event_relations, event_relations.c.child_nid == events.c.nid).where(VISIBLE)
_THREADS = (
    select(
        event_relations.c.parent_event_id,
        func.count().label("count"),
        func.max(events.c.position).label("latest"),
    )
    .join(events, events.c.nid == event_relations.c.child_nid)
    .join(rooms, rooms.c.nid == event_relations.c.room_nid)
    .where(rooms.c.room_id == bindparam("room_id"), event_relations.c.rel_type == "m.thread", _alive)
    .group_by(event_relations.c.parent_event_id)
)
_HAS_TAKEN_PART = (
    select(event_relations.c.parent_event_id)
    .distinct()
    .where(
        event_relations.c.parent_event_id.in_(bindparam("roots", expanding=True)),
        event_relations.c.rel_type == "m.thread",
        event_relations.c.sender == bindparam("sender"),
    )
)


def has_annotation(connection: Connection, parent_id: str, event_type: str, sender: str, key: str) -> bool:
    """Whether this user has annotated an event in the same way before."""
    values = {"parent": parent_id, "event_type": event_type, "sender": sender, "key": key}
    return connection.execute(_HAS_ANNOTATION, values).first() is not None


def load_children(connection: Connection, parent_ids: Collection[str], rel_types: Collection[str]) -> list[Child]:
    """The visible, unredacted events that relate to `parent_ids` in one of these ways, oldest first."""
    found: list[Child] = []
    for some in batched_list(parent_ids):
        rows = connection.execute(_CHILDREN, {"parents": some, "rel_types": list(rel_types)})
        found.extend(Child(*row[:6], Place(row[6], row[7])) for row in rows)
    return found


def load_related(
    connection: Connection,
    parent_ids: Collection[str],
    *,
    rel_type: str | None,
    event_type: str | None,
    start: Place | None,
    forwards: bool,
    limit: int,
) -> list[StoredEvent]:
    """A page of the events that relate to one of `parent_ids`, nearest to `start` first."""
    statement = _RELATED.where(event_relations.c.parent_event_id.in_(list(parent_ids)))
    if rel_type is not None:
        statement = statement.where(event_relations.c.rel_type == rel_type)
    if event_type is not None:
        statement = statement.where(events.c.type == event_type)
    if start is not None:
        statement = statement.where(_beyond(start, forwards=forwards))
    order: tuple[Any, Any] = (events.c.depth, events.c.position)
    if not forwards:
        order = (events.c.depth.desc(), events.c.position.desc())
    return unpack_events(connection.execute(statement.order_by(*order).limit(limit)))


def load_threads(connection: Connection, room_id: str, *, before: int | None, limit: int) -> list[tuple[str, int]]:
    """Roots of a room's threads with the position of each thread's newest event, most recently active first."""
    statement = _THREADS
    latest = func.max(events.c.position)
    if before is not None:
        statement = statement.having(latest < before)
    statement = statement.order_by(latest.desc()).limit(limit)
    return [(root, position) for root, _, position in connection.execute(statement, {"room_id": room_id})]


def load_threads_with(connection: Connection, root_ids: Collection[str], sender: str) -> set[str]:
    """Those of the threads that this user has written in."""
    found: set[str] = set()
    for some in batched_list(root_ids):
        found.update(connection.execute(_HAS_TAKEN_PART, {"roots": some, "sender": sender}).scalars())
    return found


def _beyond(start: Place, *, forwards: bool) -> Any:
    depth, position = events.c.depth, events.c.position
    if forwards:
        return or_(depth > start.depth, and_(depth == start.depth, position > start.position))
    return or_(depth < start.depth, and_(depth == start.depth, position <= start.position))
