"""Room state as chains of deltas: a group is the previous group plus the entries that changed.

A chain is at most `LONGEST_CHAIN` groups long; then one group holds the whole state again. Writing a state event
thus costs the same whatever the room's size.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import BigInteger, Connection, bindparam, insert, literal, select
from sqlalchemy.sql.expression import cast

from homeserver.protocol.events import StateKey
from homeserver.storage.database import Transaction
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
_INSERT_GROUP = insert(state_groups)
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


class NewGroups:
    """The groups that a transaction adds to one room, kept until `write`.

    `write_events` stores the events that wait to be written before the groups that name them. `nids` holds the row
    numbers of those events, by event id.
    """

    def __init__(self, tx: Transaction, room_nid: int, write_events: Callable[[], None] | None = None) -> None:
        self._tx = tx
        self._room_nid = room_nid
        self._write_events = write_events
        self._rows: list[dict[str, Any]] = []
        self._lengths: dict[int, int] = {}
        self.nids: dict[str, int] = {}

    def create(self, delta: StateDelta) -> int:
        """Make `delta` a group and return its number. Unchanged state keeps its group."""
        changes, previous = delta.changes, delta.base
        if not changes and previous is not None:
            return previous
        length = 0 if previous is None else self._length(previous) + 1
        if previous is not None and length >= LONGEST_CHAIN:
            whole = self._load(previous)
            apply_changes(whole, changes)
            changes, previous, length = whole, None, 0
        nid = self._tx.next_position()
        self._lengths[nid] = length
        self._rows.append(
            {
                "nid": nid,
                "room_nid": self._room_nid,
                "previous_nid": previous,
                "chain_length": length,
                "entries": self._pack(changes, previous),
            }
        )
        return nid

    def write(self) -> None:
        """Store what has been created."""
        if self._rows:
            self._tx.connection.execute(_INSERT_GROUP, self._rows)
            self._rows.clear()

    def _length(self, group: int) -> int:
        if group not in self._lengths:
            found = self._tx.connection.execute(_CHAIN_LENGTH, {"group": group}).scalar_one()
            self._lengths[group] = int(found)
        return self._lengths[group]

    def _load(self, group: int) -> StateMap:
        if self._write_events is not None:
            self._write_events()
        self.write()
        return load_state(self._tx.connection, group)

    def _pack(self, changes: Mapping[StateKey, str | None], previous: int | None) -> bytes:
        wanted = [event_id for event_id in changes.values() if event_id is not None]
        removed = [key for key, event_id in changes.items() if event_id is None]
        gone: list[str] = []
        if removed and previous is not None:
            before = self._load(previous)
            gone = [before[key] for key in removed if key in before]
        nids = self._find_nids([*wanted, *gone])
        entries = array("q", (nids[event_id] for event_id in wanted))
        entries.extend(-nids[event_id] for event_id in gone)
        return entries.tobytes()

    def _find_nids(self, event_ids: Sequence[str]) -> dict[str, int]:
        unknown = [event_id for event_id in event_ids if event_id not in self.nids]
        return {**self.nids, **load_nids(self._tx.connection, unknown)} if unknown else self.nids


def load_nids(connection: Connection, event_ids: Collection[str]) -> dict[str, int]:
    """Row numbers by event id."""
    found: dict[str, int] = {}
    for some in batched_list(event_ids):
        found.update((event_id, nid) for event_id, nid in connection.execute(_NIDS, {"ids": some}))
    return found


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
