"""What is shown of a room without reading its state: name, topic, member counts and the like.

Kept up to date by the append that changes the state, so that directories and room lists are one query.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, ColumnElement, Connection, bindparam, insert, or_, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from homeserver.protocol.events import StateKey
from homeserver.storage.database import Transaction
from homeserver.storage.events import StoredEvent
from homeserver.storage.network_rooms import IN_ANY, Network, in_network
from homeserver.storage.tables.rooms import room_summaries, rooms


class RoomSummary(NamedTuple):
    """The outside of a room."""

    room_id: str
    version: str
    creator: str | None
    room_type: str | None
    name: str | None
    topic: str | None
    avatar_url: str | None
    canonical_alias: str | None
    join_rule: str | None
    history_visibility: str | None
    guest_access: str | None
    encryption: str | None
    replacement_room: str | None
    joined_members: int
    invited_members: int
    published: bool


class MemberCounts(NamedTuple):
    """How many members a room has."""

    joined: int
    invited: int


class MemberSteps(NamedTuple):
    """By how much the numbers of members change."""

    joined: int
    invited: int


# Which key of which state event's content each column shows.
_SHOWN: dict[str, tuple[str, str]] = {
    "m.room.name": ("name", "name"),
    "m.room.topic": ("topic", "topic"),
    "m.room.avatar": ("avatar_url", "url"),
    "m.room.canonical_alias": ("canonical_alias", "alias"),
    "m.room.join_rules": ("join_rule", "join_rule"),
    "m.room.history_visibility": ("history_visibility", "history_visibility"),
    "m.room.guest_access": ("guest_access", "guest_access"),
    "m.room.encryption": ("encryption", "algorithm"),
    "m.room.tombstone": ("replacement_room", "replacement_room"),
}
NO_STEPS = MemberSteps(0, 0)

_of_room = room_summaries.c.room_nid == bindparam("room")
_INSERT = insert(room_summaries)
_RESET = (
    update(room_summaries)
    .where(_of_room)
    .values({**{column: None for column, _ in _SHOWN.values()}, "joined_members": 0, "invited_members": 0})
)
_SUMMARY = select(
    rooms.c.room_id,
    rooms.c.version,
    *(room_summaries.c[name] for name in RoomSummary._fields[2:]),
).join(rooms, rooms.c.nid == room_summaries.c.room_nid)
_BY_ID = _SUMMARY.where(rooms.c.room_id.in_(bindparam("room_ids", expanding=True)))
_MEMBER_COUNTS = select(room_summaries.c.joined_members, room_summaries.c.invited_members)
_COUNTS_BY_ID = _MEMBER_COUNTS.join(rooms, rooms.c.nid == room_summaries.c.room_nid).where(
    rooms.c.room_id == bindparam("room_id")
)
_PUBLISH = (
    update(room_summaries)
    .where(
        room_summaries.c.room_nid
        == select(rooms.c.nid).where(rooms.c.room_id == bindparam("wanted_room")).scalar_subquery()
    )
    .values(published=bindparam("visible"))
)


def create_summary(connection: Connection, room_nid: int, now_ms: int) -> None:
    """The empty summary of a new room."""
    connection.execute(_INSERT, {"room_nid": room_nid, "created_ms": now_ms})


def reset_summary(connection: Connection, room_nid: int) -> None:
    """Show nothing, and count nobody."""
    connection.execute(_RESET, {"room": room_nid})


def update_summary(
    connection: Connection, room_nid: int, current: Mapping[StateKey, StoredEvent | None], steps: MemberSteps = NO_STEPS
) -> MemberCounts | None:
    """Show what state events, now current, say (None shows nothing), and count members.

    Returns the new numbers of members; None when they stay as they are.
    """
    shown: dict[str, str | None] = {}
    for (event_type, state_key), stored in current.items():
        content: dict[str, Any] = stored.event.content if stored is not None else {}
        if state_key != "":
            continue
        if event_type == "m.room.create" and stored is not None:
            shown["creator"] = _text(content.get("creator", stored.event.sender))
            shown["room_type"] = _text(content.get("type"))
        elif event_type in _SHOWN:
            column, key = _SHOWN[event_type]
            shown[column] = _text(content.get(key))
    if not shown and steps == NO_STEPS:
        return None
    values: dict[str, Any] = {"room": room_nid, "more_joined": steps.joined, "more_invited": steps.invited}
    values.update((f"new_{column}", value) for column, value in shown.items())
    joined, invited = connection.execute(_update(frozenset(shown)), values).one()
    counts = MemberCounts(joined, invited)
    return counts if steps != NO_STEPS else None


@lru_cache(maxsize=256)
def _update(columns: frozenset[str]) -> ReturningUpdate[Any]:
    counted = {
        "joined_members": room_summaries.c.joined_members + bindparam("more_joined"),
        "invited_members": room_summaries.c.invited_members + bindparam("more_invited"),
    }
    shown: dict[str, BindParameter[Any]] = {column: bindparam(f"new_{column}") for column in columns}
    return (
        update(room_summaries)
        .where(_of_room)
        .values({**shown, **counted})
        .returning(room_summaries.c.joined_members, room_summaries.c.invited_members)
    )


def member_steps(old: Iterable[str | None], new: Iterable[str | None]) -> MemberSteps:
    """By how much the numbers of members change when the `old` memberships give way to the `new` ones."""
    gone, come = Counter(old), Counter(new)
    return MemberSteps(come["join"] - gone["join"], come["invite"] - gone["invite"])


def load_member_counts(connection: Connection, room_id: str) -> MemberCounts:
    """How many members a room has."""
    return MemberCounts(*connection.execute(_COUNTS_BY_ID, {"room_id": room_id}).one())


def load_summaries(connection: Connection, room_ids: list[str]) -> dict[str, RoomSummary]:
    """Summaries by room id."""
    return {row[0]: RoomSummary(*row) for row in connection.execute(_BY_ID, {"room_ids": room_ids})}


def publish_room(tx: Transaction, room_id: str, published: bool) -> None:
    """List a room in the public directory, or take it out."""
    tx.connection.execute(_PUBLISH, {"wanted_room": room_id, "visible": published})


def load_published(
    connection: Connection,
    *,
    term: str | None,
    room_types: list[str | None] | None,
    after: tuple[int, str] | None,
    limit: int,
    network: Network | None = None,
    all_networks: bool = False,
) -> list[RoomSummary]:
    """A page of the public directory, largest rooms first. `after` is the last row seen: its size and room id.

    With `network` the directory of that network instead; with `all_networks` all directories together.
    """
    listed: ColumnElement[bool] = room_summaries.c.published.is_(True)
    if network is not None:
        listed = room_summaries.c.room_nid.in_(in_network(network))
    elif all_networks:
        listed = or_(listed, room_summaries.c.room_nid.in_(IN_ANY))
    statement = _SUMMARY.where(listed)
    if term:
        pattern = f"%{_escape(term)}%"
        columns = (room_summaries.c.name, room_summaries.c.topic, room_summaries.c.canonical_alias)
        statement = statement.where(or_(*(column.ilike(pattern, escape="\\") for column in columns)))
    if room_types is not None:
        named = [kind for kind in room_types if kind is not None]
        wanted = room_summaries.c.room_type.in_(named)
        statement = statement.where(or_(wanted, room_summaries.c.room_type.is_(None)) if None in room_types else wanted)
    if after is not None:
        size, room_id = after
        same_size = (room_summaries.c.joined_members == size) & (rooms.c.room_id > room_id)
        statement = statement.where(or_(room_summaries.c.joined_members < size, same_size))
    statement = statement.order_by(room_summaries.c.joined_members.desc(), rooms.c.room_id).limit(limit)
    return [RoomSummary(*row) for row in connection.execute(statement)]


def _escape(term: str) -> str:
    return term.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
