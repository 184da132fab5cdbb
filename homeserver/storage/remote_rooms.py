"""Writes what comes from other servers and is no ordinary append: whole rooms, invitations, events without a place.

Part of the room log: events get into the database here or in `room_log`, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import orjson
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from homeserver.protocol.event_hashes import reference_hash_base64
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.receipt import Standing
from homeserver.protocol.room_versions import RoomVersion
from homeserver.storage.changes import Change
from homeserver.storage.database import Transaction
from homeserver.storage.events import (
    STORED_EVENTS,
    VISIBLE,
    StoredEvent,
    batched_list,
    load_events,
    standing_code,
    unpack_events,
)
from homeserver.storage.room_log import AppendBatch, Appended, Extremity, append, record_current_state
from homeserver.storage.room_state import NewGroups, StateDelta
from homeserver.storage.room_summaries import create_summary, reset_summary
from homeserver.storage.tables.events import events, redactions
from homeserver.storage.tables.rooms import backward_extremities, memberships, room_state_log, rooms
from homeserver.storage.upsert import insert_or_ignore

Relay: TypeAlias = Callable[[Transaction, str, int], object]


@dataclass(frozen=True, slots=True)
class Adoption:
    """A room of other servers that a local user has just joined.

    `state` is the room's state before the join event `join`; `auth_chain` what else is needed to judge it.
    """

    room_id: str
    version: RoomVersion
    state: Mapping[StateKey, Event]
    auth_chain: Sequence[Event]
    join: Event
    now_ms: int
    server_name: str


@dataclass(frozen=True, slots=True)
class HistoricalEvent:
    """An event from before the oldest one known here, with the state before it where that is known."""

    event: Event
    standing: Standing = Standing.ACCEPTED
    reason: str | None = None
    state_before: int | StateDelta | None = None
    redacted_by: StoredEvent | None = None


_FIND_ROOM = select(rooms.c.nid, rooms.c.revision, rooms.c.version).where(rooms.c.room_id == bindparam("wanted_room"))
_INSERT_ROOM = insert(rooms).returning(rooms.c.nid)
_SET_ROOM = (
    update(rooms)
    .where(rooms.c.nid == bindparam("room"))
    .values(
        revision=bindparam("new_revision"),
        latest_position=bindparam("new_position"),
        state_group_nid=bindparam("new_group"),
        forward_extremities=bindparam("new_extremities"),
    )
)
_INSERT_OUTLIER = insert_or_ignore(events, ["event_id"])
_INSERT_STATE_LOG = insert(room_state_log)
_PLACE = (
    update(events)
    .where(events.c.event_id == bindparam("target"))
    .values(
        position=bindparam("at"),
        standing=bindparam("stands"),
        reason=bindparam("why"),
        state_before_nid=bindparam("before"),
        state_after_nid=bindparam("after"),
        redacted_by_nid=bindparam("redaction"),
    )
    .returning(events.c.nid)
)
_OLDEST = select(func.min(events.c.position)).where(events.c.room_nid == bindparam("room"))
_ADD_BACKWARD = insert_or_ignore(backward_extremities, ["room_nid", "event_id"])
_DROP_BACKWARD = delete(backward_extremities).where(
    backward_extremities.c.room_nid == bindparam("room"), backward_extremities.c.event_id == bindparam("target")
)
_BACKWARD = (
    select(backward_extremities.c.event_id, backward_extremities.c.depth)
    .join(rooms, rooms.c.nid == backward_extremities.c.room_nid)
    .where(rooms.c.room_id == bindparam("room_id"))
    .order_by(backward_extremities.c.depth.desc())
    .limit(bindparam("most"))
)
_IS_BACKWARD = (
    select(backward_extremities.c.event_id)
    .join(rooms, rooms.c.nid == backward_extremities.c.room_nid)
    .where(rooms.c.room_id == bindparam("room_id"), backward_extremities.c.event_id == bindparam("target"))
)
_LEAST_DEPTH = (
    select(func.min(events.c.depth))
    .join(rooms, rooms.c.nid == events.c.room_nid)
    .where(rooms.c.room_id == bindparam("room_id"), events.c.position > 0)
)
_WAITING_REDACTIONS = (
    STORED_EVENTS.join(redactions, redactions.c.redaction_nid == events.c.nid)
    .where(redactions.c.redacts_event_id == bindparam("target"), rooms.c.room_id == bindparam("room_id"), VISIBLE)
    .order_by(events.c.position)
)
_FORGET_MEMBERS = delete(memberships).where(memberships.c.room_nid == bindparam("room"))
_FORGET_OUTLIERS = delete(events).where(events.c.room_nid == bindparam("room"), events.c.position.is_(None))
_SET_VERSION = update(rooms).where(rooms.c.nid == bindparam("room")).values(version=bindparam("new_version"))
_KNOWN = select(events.c.event_id).where(events.c.event_id.in_(bindparam("ids", expanding=True)))


def adopt_room(tx: Transaction, adoption: Adoption) -> Appended:
    """Take over a room's state as another server gave it, and put the local user's join on top."""
    room_nid, revision = _open_room(tx, adoption.room_id, adoption.version, adoption.now_ms)
    state_ids = {key: event.event_id for key, event in adoption.state.items()}
    store_outliers(tx, adoption.room_id, [*adoption.auth_chain, *adoption.state.values(), adoption.join])
    groups = NewGroups(tx, room_nid)
    before = groups.create(StateDelta(None, state_ids))
    key = adoption.join.key
    after = groups.create(StateDelta(before, {key: adoption.join.event_id}))
    groups.write()
    position = tx.next_position()
    placed = _place(tx, adoption.join, position, Standing.ACCEPTED, None, before, after)
    stored = StoredEvent(adoption.join, placed, position, Standing.ACCEPTED, state_before=before, state_after=after)
    tx.connection.execute(_INSERT_STATE_LOG, {"room_nid": room_nid, "position": position, "state_group_nid": after})
    whole = {**adoption.state, key: adoption.join}
    _replace_members(tx, room_nid, whole, position, adoption.server_name)
    _note_backward_extremities(tx, room_nid, [adoption.join])
    version = adoption.version
    hashed = version.event_format.references_carry_hashes
    sha256 = reference_hash_base64(adoption.join.pdu, version) if hashed else ""
    extremities = (Extremity(adoption.join.event_id, adoption.join.depth, sha256),)
    _set_room(tx, room_nid, revision + 1, position, after, extremities)
    changes = {**state_ids, key: adoption.join.event_id}
    appended = Appended(
        adoption.room_id, (stored,), revision + 1, extremities, after, changes, {}, members=None, adopted=True
    )
    users = tuple(state_key for kind, state_key in changes if kind == "m.room.member")
    tx.announce(Change(position, "event", adoption.room_id, users, appended))
    return appended


def append_remote(tx: Transaction, batch: AppendBatch, relay: Relay | None = None) -> Appended:
    """Append events of other servers: what they were missed for is no gap any more, what they miss becomes one.

    `relay` notes, in the same transaction, that an event is ours to pass on although another server sent it.
    """
    appended = append(tx, batch)
    room_nid = tx.connection.execute(_FIND_ROOM, {"wanted_room": batch.room_id}).one().nid
    for item in batch.appends:
        tx.connection.execute(_DROP_BACKWARD, {"room": room_nid, "target": item.event.event_id})
        if relay is not None:
            relay(tx, item.event.event_id, batch.now_ms)
    # Only events that are built upon make a gap: nobody reads back from one that clients never see.
    accepted = [item.event for item in batch.appends if item.standing is Standing.ACCEPTED]
    _note_backward_extremities(tx, room_nid, accepted)
    return appended


def is_backward_extremity(connection: Connection, room_id: str, event_id: str) -> bool:
    """Whether an event that is not here yet is followed by one that is."""
    return connection.execute(_IS_BACKWARD, {"room_id": room_id, "target": event_id}).first() is not None


def find_least_depth(connection: Connection, room_id: str) -> int:
    """The least depth of the events that came while this server was in the room; 0 if there are none."""
    return connection.execute(_LEAST_DEPTH, {"room_id": room_id}).scalar() or 0


def load_waiting_redactions(connection: Connection, room_id: str, event_id: str) -> list[StoredEvent]:
    """The redactions that name an event, oldest first; whether they may take effect is not judged."""
    return unpack_events(connection.execute(_WAITING_REDACTIONS, {"room_id": room_id, "target": event_id}))


def store_outliers(tx: Transaction, room_id: str, some: Iterable[Event]) -> None:
    """Store events that have no place in the timeline; those that are stored already stay as they are."""
    room_nid = tx.connection.execute(_FIND_ROOM, {"wanted_room": room_id}).one().nid
    unique = {event.event_id: event for event in some}
    known: set[str] = set()
    for ids in batched_list(unique):
        known.update(tx.connection.execute(_KNOWN, {"ids": ids}).scalars())
    rows = [
        {
            "nid": tx.next_position(),
            "event_id": event.event_id,
            "room_nid": room_nid,
            "position": None,
            "depth": event.depth,
            "type": event.type,
            "state_key": event.state_key,
            "sender": event.sender,
            "origin_server_ts": event.origin_server_ts,
            "standing": standing_code(Standing.ACCEPTED),
            "notify": 0,
            "pdu": orjson.dumps(event.pdu),
        }
        for event_id, event in unique.items()
        if event_id not in known
    ]
    if rows:
        tx.connection.execute(_INSERT_OUTLIER, rows)


def record_outside_membership(
    tx: Transaction, room_id: str, version: RoomVersion, event: Event, now_ms: int, server_name: str
) -> int:
    """Note an invite, a knock or their end for a local user in a room that this server is not in."""
    room_nid, _ = _open_room(tx, room_id, version, now_ms)
    store_outliers(tx, room_id, [event])
    stored = load_events(tx.connection, [event.event_id])[event.event_id]
    position = tx.next_position()
    user_id = event.key[1]
    record_current_state(tx.connection, room_nid, {event.key: stored}, position, server_name)
    tx.announce(Change(position, "outside_membership", room_id, (user_id,)))
    return position


def prepend_history(tx: Transaction, room_id: str, newest_first: Sequence[HistoricalEvent]) -> int:
    """Put events before the oldest of a room's timeline; how many were new."""
    room_nid = tx.connection.execute(_FIND_ROOM, {"wanted_room": room_id}).one().nid
    store_outliers(tx, room_id, [item.event for item in newest_first])
    oldest = tx.connection.execute(_OLDEST, {"room": room_nid}).scalar() or 0
    position = min(0, oldest)
    placed = 0
    groups = NewGroups(tx, room_nid)
    known_groups: dict[int, int] = {}
    for item in newest_first:
        tx.connection.execute(_DROP_BACKWARD, {"room": room_nid, "target": item.event.event_id})
        known = load_events(tx.connection, [item.event.event_id])[item.event.event_id]
        if known.position is not None:
            continue
        position -= 1
        placed += 1
        before = item.state_before
        if isinstance(before, StateDelta):
            # Events between two changes of the state share one delta, which becomes one group.
            if id(before) not in known_groups:
                known_groups[id(before)] = groups.create(before)
            before = known_groups[id(before)]
        after = before
        if before is not None and item.event.is_state and item.standing is not Standing.REJECTED:
            delta = StateDelta(before, {item.event.key: item.event.event_id})
            after = groups.create(delta)
        _place(tx, item.event, position, item.standing, item.reason, before, after, item.redacted_by)
    groups.write()
    _note_backward_extremities(tx, room_nid, [item.event for item in newest_first])
    return placed


def load_backward_extremities(connection: Connection, room_id: str, most: int) -> list[tuple[str, int]]:
    """Events that the oldest known ones follow on but that are not here, with the depth they are named at."""
    return [(row.event_id, row.depth) for row in connection.execute(_BACKWARD, {"room_id": room_id, "most": most})]


def note_gap(tx: Transaction, room_id: str, some: Sequence[Event]) -> None:
    """Remember which of the events that `some` follow on are missing, to be fetched when somebody reads back."""
    room_nid = tx.connection.execute(_FIND_ROOM, {"wanted_room": room_id}).one().nid
    _note_backward_extremities(tx, room_nid, some)


def _open_room(tx: Transaction, room_id: str, version: RoomVersion, now_ms: int) -> tuple[int, int]:
    row = tx.connection.execute(_FIND_ROOM, {"wanted_room": room_id}).first()
    if row is not None:
        if row.version != version.identifier:
            _change_version(tx, row.nid, row.revision, version)
        return row.nid, row.revision
    values = {"room_id": room_id, "version": version.identifier}
    room_nid = int(tx.connection.execute(_INSERT_ROOM, values).scalar_one())
    create_summary(tx.connection, room_nid, now_ms)
    return room_nid, 0


def _change_version(tx: Transaction, room_nid: int, revision: int, version: RoomVersion) -> None:
    """Forget what was believed of a room under another version: an invite or knock alone says whatever it likes."""
    if revision != 0:
        raise ValueError("the version of a room that this server has been in is known for certain")
    tx.connection.execute(_FORGET_MEMBERS, {"room": room_nid})
    reset_summary(tx.connection, room_nid)
    tx.connection.execute(_FORGET_OUTLIERS, {"room": room_nid})
    tx.connection.execute(_SET_VERSION, {"room": room_nid, "new_version": version.identifier})


def _set_room(
    tx: Transaction, room_nid: int, revision: int, position: int, group: int, extremities: Sequence[Extremity]
) -> None:
    values = {
        "room": room_nid,
        "new_revision": revision,
        "new_position": position,
        "new_group": group,
        "new_extremities": orjson.dumps([list(extremity) for extremity in extremities]).decode(),
    }
    tx.connection.execute(_SET_ROOM, values)


def _place(
    tx: Transaction,
    event: Event,
    position: int,
    standing: Standing,
    reason: str | None,
    before: int | None,
    after: int | None,
    redacted_by: StoredEvent | None = None,
) -> int:
    values = {
        "target": event.event_id,
        "at": position,
        "stands": standing_code(standing),
        "why": reason,
        "before": before,
        "after": after,
        "redaction": redacted_by.nid if redacted_by is not None else None,
    }
    return int(tx.connection.execute(_PLACE, values).scalar_one())


def _replace_members(
    tx: Transaction, room_nid: int, state: Mapping[StateKey, Event], position: int, server_name: str
) -> None:
    """Members and summary as the new state has them; what was known from an earlier stay is gone."""
    tx.connection.execute(_FORGET_MEMBERS, {"room": room_nid})
    reset_summary(tx.connection, room_nid)
    stored = load_events(tx.connection, [event.event_id for event in state.values()])
    current = {key: stored[event.event_id] for key, event in state.items()}
    record_current_state(tx.connection, room_nid, current, position, server_name)


def _note_backward_extremities(tx: Transaction, room_nid: int, some: Sequence[Event]) -> None:
    depths = {parent: event.depth for event in some for parent in event.prev_event_ids}
    known = load_events(tx.connection, depths)
    missing = [
        {"room_nid": room_nid, "event_id": parent, "depth": depth}
        for parent, depth in depths.items()
        if parent not in known or known[parent].position is None
    ]
    if missing:
        tx.connection.execute(_ADD_BACKWARD, missing)
