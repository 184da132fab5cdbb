"""Room state as chains of deltas: a group is the previous group plus the entries that changed.

A chain is at most `LONGEST_CHAIN` groups long; then one group holds the whole state again. Writing a state event
thus costs the same whatever the room's size.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import BigInteger, Connection, bindparam, insert, literal, select
from sqlalchemy.sql.expression import cast

from homeserver.protocol.events import StateKey
from homeserver.storage.events import batched_list
from homeserver.storage.tables.events import events
from homeserver.storage.tables.rooms import room_state_log, rooms, state_groups

LONGEST_CHAIN = 100

StateMap: TypeAlias = dict[StateKey, str]


@dataclass(frozen=True, slots=True)
class StateDelta:
    """State that has no group yet: `base` with `changes` laid over it; None takes a key away."""

    base: int | None
    changes: Mapping[StateKey, str | None]


@dataclass(frozen=True, slots=True)
class GroupLink:
    """One stored group: what it changes, and on top of which other group."""

    nid: int
    previous: int | None
    changes: Mapping[StateKey, str | None]


_first = (
    select(
        state_groups.c.nid,
        state_groups.c.previous_nid,
        state_groups.c.entries,
        cast(literal(0), BigInteger).label("age"),
    )
    .where(state_groups.c.nid == bindparam("group"))
    .cte("chain", recursive=True)
)
_chain = _first.union_all(
    select(state_groups.c.nid, state_groups.c.previous_nid, state_groups.c.entries, _first.c.age + 1).where(
        state_groups.c.nid == _first.c.previous_nid
    )
)
_CHAIN = select(_chain.c.nid, _chain.c.previous_nid, _chain.c.entries).order_by(_chain.c.age)
_KEYS = select(events.c.nid, events.c.type, events.c.state_key, events.c.event_id).where(
    events.c.nid.in_(bindparam("nids", expanding=True))
)
_NIDS = select(events.c.event_id, events.c.nid).where(events.c.event_id.in_(bindparam("ids", expanding=True)))
_CHAIN_LENGTH = select(state_groups.c.chain_length).where(state_groups.c.nid == bindparam("group"))
_INSERT_GROUP = insert(state_groups).returning(state_groups.c.nid)
_GROUP_AT = (
    select(room_state_log.c.state_group_nid)
    .join(rooms, rooms.c.nid == room_state_log.c.room_nid)
    .where(rooms.c.room_id == bindparam("room_id"), room_state_log.c.position <= bindparam("position"))
    .order_by(room_state_log.c.position.desc())
    .limit(1)
)


def load_chain(connection: Connection, group: int) -> list[GroupLink]:
    """The group and those below it down to one that holds a whole state, newest first."""
    rows = [(nid, previous, unpack_entries(entries)) for nid, previous, entries in _chain_rows(connection, group)]
    keys = _load_keys(connection, {abs(nid) for _, _, entries in rows for nid in entries})
    return [GroupLink(nid, previous, _changes(entries, keys)) for nid, previous, entries in rows]


def load_state(connection: Connection, group: int | None) -> StateMap:
    """The whole state of a group."""
    state: StateMap = {}
    if group is None:
        return state
    for link in reversed(load_chain(connection, group)):
        apply_changes(state, link.changes)
    return state


def apply_changes(state: StateMap, changes: Mapping[StateKey, str | None]) -> None:
    """Lay a delta over `state`, in place."""
    for key, event_id in changes.items():
        if event_id is None:
            state.pop(key, None)
        else:
            state[key] = event_id


def find_group_at(connection: Connection, room_id: str, position: int) -> int | None:
    """The state group that was a room's current state when the log stood at `position`."""
    return connection.execute(_GROUP_AT, {"room_id": room_id, "position": position}).scalar()


def create_group(connection: Connection, room_nid: int, delta: StateDelta) -> int:
    """Store `delta` as a group and return its number. Unchanged state keeps its group."""
    changes = delta.changes
    if not changes and delta.base is not None:
        return delta.base
    previous = delta.base
    length = 0
    if previous is not None:
        length = int(connection.execute(_CHAIN_LENGTH, {"group": previous}).scalar_one()) + 1
        if length >= LONGEST_CHAIN:
            whole = load_state(connection, previous)
            apply_changes(whole, changes)
            changes, previous, length = whole, None, 0
    entries = _pack(connection, changes, previous)
    values = {"room_nid": room_nid, "previous_nid": previous, "chain_length": length, "entries": entries}
    return int(connection.execute(_INSERT_GROUP, values).scalar_one())


def load_nids(connection: Connection, event_ids: Collection[str]) -> dict[str, int]:
    """Row numbers by event id."""
    found: dict[str, int] = {}
    for some in batched_list(event_ids):
        found.update((event_id, nid) for event_id, nid in connection.execute(_NIDS, {"ids": some}))
    return found


def _pack(connection: Connection, changes: Mapping[StateKey, str | None], previous: int | None) -> bytes:
    nids = load_nids(connection, [event_id for event_id in changes.values() if event_id is not None])
    entries = array("q", nids.values())
    removed = [key for key, event_id in changes.items() if event_id is None]
    if removed and previous is not None:
        before = load_state(connection, previous)
        gone = load_nids(connection, [before[key] for key in removed if key in before])
        entries.extend(-nid for nid in gone.values())
    return entries.tobytes()


def unpack_entries(packed: bytes) -> array[int]:
    """The row numbers in a group's `entries`."""
    entries = array("q")
    entries.frombytes(packed)
    return entries


def _chain_rows(connection: Connection, group: int) -> list[tuple[int, int | None, bytes]]:
    return [(nid, previous, entries) for nid, previous, entries in connection.execute(_CHAIN, {"group": group})]


def _load_keys(connection: Connection, nids: Collection[int]) -> dict[int, tuple[StateKey, str]]:
    found: dict[int, tuple[StateKey, str]] = {}
    for some in batched_list(nids):
        for nid, event_type, state_key, event_id in connection.execute(_KEYS, {"nids": some}):
            found[nid] = ((event_type, state_key), event_id)
    return found


def _changes(entries: array[int], keys: Mapping[int, tuple[StateKey, str]]) -> dict[StateKey, str | None]:
    changes: dict[StateKey, str | None] = {}
    for nid in entries:
        key, event_id = keys[abs(nid)]
        changes[key] = event_id if nid > 0 else None
    return changes
