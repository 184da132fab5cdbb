"""The only writer of events: one function that puts judged events, ours or remote, into the log.

Everything an event changes about its room is written with it, in one transaction, at a cost that does not depend
on how many members the room has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, Insert, bindparam, insert, select, update

from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.receipt import Standing
from homeserver.protocol.relations import relation_of
from homeserver.protocol.room_versions import RoomVersion
from homeserver.storage.changes import Change
from homeserver.storage.database import Transaction
from homeserver.storage.events import Mention, StoredEvent, TransactionId, load_events, standing_code
from homeserver.storage.hot_statements import HotStatement
from homeserver.storage.memberships import record_memberships
from homeserver.storage.room_state import NewGroups, StateDelta
from homeserver.storage.room_summaries import NO_STEPS, MemberCounts, create_summary, update_summary
from homeserver.storage.tables.events import event_mentions, event_relations, events, redactions, transaction_ids
from homeserver.storage.tables.rooms import room_state_log, rooms


class Extremity(NamedTuple):
    """A forward extremity: what the next event's `prev_events` name. `sha256` is used by room versions 1 and 2."""

    event_id: str
    depth: int
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Append:
    """One judged event, and what its write needs to know.

    `state_before` is the state before the event: a group, a delta that becomes one, or None for "as the previous
    event of this batch left the room". `redacts` is the id of the event whose content this one takes away, when it
    has been judged that it may. `scope` and `transaction` let the sending device repeat its request.
    """

    event: Event
    standing: Standing = Standing.ACCEPTED
    reason: str | None = None
    state_before: int | StateDelta | None = None
    notify: int = 0
    mentions: Sequence[Mention] = ()
    thread_root: str | None = None
    redacts: str | None = None
    transaction: TransactionId | None = None
    scope: str = ""
    # Set for events of other servers, which may have come before as outliers.
    may_be_known: bool = False
    # A redaction that came before its target, and takes effect now that this is the target.
    redacted_by: StoredEvent | None = None


class RoomHandle(NamedTuple):
    """What the log needs to know of a room to extend it. Opaque to everybody else."""

    room_nid: int
    state_group: int | None


@dataclass(frozen=True, slots=True)
class AppendBatch:
    """Events of one room to be written together, oldest first.

    `revision` is the room's revision they were judged against (None creates the room). `current_state` is the
    room's state afterwards where that is not simply the state after the last event.
    """

    room_id: str
    version: RoomVersion
    revision: int | None
    appends: Sequence[Append]
    extremities: tuple[Extremity, ...]
    now_ms: int
    server_name: str
    current_state: StateDelta | None = None
    # The room's row as memory has it; without it the row is looked up.
    row: RoomHandle | None = None


@dataclass(frozen=True, slots=True)
class Appended:
    """What a committed batch made of the room: handed to the log's followers in this process."""

    room_id: str
    events: tuple[StoredEvent, ...]
    revision: int
    extremities: tuple[Extremity, ...]
    state_group: int | None
    state_changes: Mapping[StateKey, str | None]
    # The redactions among the events, by the id of the event each takes the content of.
    redactions: Mapping[str, Event]
    # How many members the room has now; None when no membership changed.
    members: MemberCounts | None = None
    # The room was taken over whole from another server: what memory holds of it is void.
    adopted: bool = False


class _Progress:
    """What a batch has come to, and the rows that are to be written, each kind in one statement."""

    def __init__(self, tx: Transaction, room_nid: int, group: int | None) -> None:
        self.room_nid = room_nid
        self.group = group
        self.groups = NewGroups(tx, room_nid, self.write_events)
        self.written: list[StoredEvent] = []
        self.changes: dict[StateKey, str | None] = {}
        self.position = 0
        self.rows: dict[Insert, list[dict[str, Any]]] = {}
        self._connection = tx.connection

    def add(self, statement: Insert, row: dict[str, Any]) -> None:
        self.rows.setdefault(statement, []).append(row)

    def write_events(self) -> None:
        rows = self.rows.pop(_INSERT_EVENT, None)
        if rows:
            self._insert(_INSERT_EVENT, rows)

    def write(self) -> None:
        self.write_events()
        self.groups.write()
        for statement, rows in self.rows.items():
            self._insert(statement, rows)
        self.rows.clear()

    def _insert(self, statement: Insert, rows: list[dict[str, Any]]) -> None:
        hot = _HOT.get(statement)
        if hot is not None and len(rows) == 1:
            hot.execute(self._connection, rows[0])
        else:
            self._connection.execute(statement, rows)


class RoomMoved(Exception):
    """Another writer appended to the room first: judge again against what it left."""


_FIND_ROOM = select(rooms.c.nid, rooms.c.revision, rooms.c.state_group_nid).where(
    rooms.c.room_id == bindparam("wanted_room")
)
_INSERT_ROOM = insert(rooms).returning(rooms.c.nid)
_UPDATE_ROOM = HotStatement(
    update(rooms)
    .where(rooms.c.nid == bindparam("room"), rooms.c.revision == bindparam("expected"))
    .values(
        revision=bindparam("new_revision"),
        latest_position=bindparam("new_position"),
        state_group_nid=bindparam("new_group"),
        forward_extremities=bindparam("new_extremities"),
    )
)
_INSERT_EVENT = insert(events)
_FIND_OUTLIER = select(events.c.nid).where(events.c.event_id == bindparam("target"), events.c.position.is_(None))
_PLACE_OUTLIER = (
    update(events)
    .where(events.c.nid == bindparam("outlier"))
    .values(
        {
            name: bindparam(f"new_{name}")
            for name in (
                "position",
                "standing",
                "reason",
                "state_before_nid",
                "state_after_nid",
                "notify",
                "thread_root",
                "redacted_by_nid",
            )
        }
    )
)
_INSERT_STATE_LOG = insert(room_state_log)
_INSERT_RELATION = insert(event_relations)
_INSERT_MENTION = insert(event_mentions)
_INSERT_REDACTION = insert(redactions)
_INSERT_TRANSACTION = insert(transaction_ids)
_HOT = {
    _INSERT_EVENT: HotStatement(_INSERT_EVENT, [column.name for column in events.c if column.name != "stripped"]),
    _INSERT_TRANSACTION: HotStatement(_INSERT_TRANSACTION, [column.name for column in transaction_ids.c]),
}
_REDACT = (
    update(events)
    .where(events.c.event_id == bindparam("target"), events.c.room_nid == bindparam("room"))
    .values(redacted_by_nid=bindparam("redaction"), notify=0)
)
_UNMENTION = event_mentions.delete().where(
    event_mentions.c.event_nid == select(events.c.nid).where(events.c.event_id == bindparam("target")).scalar_subquery()
)


def append(tx: Transaction, batch: AppendBatch) -> Appended:
    """Write `batch`. Raises `RoomMoved` when the room is no longer at the revision the batch was judged against."""
    room_nid, revision, group = _open_room(tx, batch)
    progress = _Progress(tx, room_nid, group)
    for item in batch.appends:
        _append_event(tx, batch, item, progress)
    if batch.current_state is not None:
        progress.group = progress.groups.create(batch.current_state)
        progress.changes = dict(batch.current_state.changes)
    progress.write()
    for item in batch.appends:
        if item.redacts is not None and item.standing is Standing.ACCEPTED:
            _redact(tx, item, progress)
    members = _record_state(tx, batch, progress) if progress.changes else None
    values = {
        "room": room_nid,
        "expected": revision,
        "new_revision": revision + 1,
        "new_position": progress.position,
        "new_group": progress.group,
        "new_extremities": orjson.dumps([list(extremity) for extremity in batch.extremities]).decode(),
    }
    if _UPDATE_ROOM.execute(tx.connection, values) != 1:
        raise RoomMoved(batch.room_id)
    appended = Appended(
        batch.room_id,
        tuple(progress.written),
        revision + 1,
        batch.extremities,
        progress.group,
        progress.changes,
        {item.redacts: item.event for item in batch.appends if item.redacts is not None},
        members,
    )
    tx.announce(Change(progress.position, "event", batch.room_id, _users_concerned(appended), appended))
    return appended


def _open_room(tx: Transaction, batch: AppendBatch) -> tuple[int, int, int | None]:
    if batch.revision is None:
        nid = int(
            tx.connection.execute(
                _INSERT_ROOM, {"room_id": batch.room_id, "version": batch.version.identifier}
            ).scalar_one()
        )
        create_summary(tx.connection, nid, batch.now_ms)
        return nid, 0, None
    if batch.row is not None:
        # Whether memory was right shows when the row is updated: it must still have this revision.
        return batch.row.room_nid, batch.revision, batch.row.state_group
    row = tx.connection.execute(_FIND_ROOM, {"wanted_room": batch.room_id}).one()
    if row.revision != batch.revision:
        raise RoomMoved(batch.room_id)
    return row.nid, row.revision, row.state_group_nid


def _append_event(tx: Transaction, batch: AppendBatch, item: Append, progress: _Progress) -> None:
    event = item.event
    before = progress.group if item.state_before is None else item.state_before
    if isinstance(before, StateDelta):
        before = progress.groups.create(before)
    position = tx.next_position()
    known = _find_outlier(tx, event.event_id) if item.may_be_known else None
    nid = progress.groups.nids[event.event_id] = position if known is None else known
    after = before
    if event.state_key is not None and item.standing is not Standing.REJECTED:
        key = (event.type, event.state_key)
        after = progress.groups.create(StateDelta(before, {key: event.event_id}))
        if item.standing is Standing.ACCEPTED and item.state_before is None:
            progress.group = after
            progress.changes[key] = event.event_id
    place = _place_of(item, position, before, after)
    if known is None:
        progress.add(_INSERT_EVENT, {"nid": nid, **_fixed_of(event, progress.room_nid), **place})
    else:
        tx.connection.execute(_PLACE_OUTLIER, {"outlier": known, **{f"new_{name}": place[name] for name in place}})
    progress.position = position
    progress.written.append(
        StoredEvent(
            event,
            nid,
            position,
            item.standing,
            item.reason,
            before,
            after,
            item.notify,
            item.thread_root,
            item.transaction,
            redacted_by=item.redacted_by.event if item.redacted_by is not None else None,
            mentions=item.mentions,
        )
    )
    if item.standing is Standing.ACCEPTED:
        _note_consequences(item, progress, nid, position)
    if item.transaction is not None:
        values = {
            "user_id": event.sender,
            "device_id": item.transaction.device_id,
            "scope": item.scope,
            "transaction_id": item.transaction.transaction_id,
            "event_nid": nid,
            "created_ms": batch.now_ms,
        }
        progress.add(_INSERT_TRANSACTION, values)


def _fixed_of(event: Event, room_nid: int) -> dict[str, Any]:
    """The columns of an event that are the same wherever it stands."""
    return {
        "event_id": event.event_id,
        "room_nid": room_nid,
        "depth": event.depth,
        "type": event.type,
        "state_key": event.state_key,
        "sender": event.sender,
        "origin_server_ts": event.origin_server_ts,
        "pdu": orjson.dumps(event.pdu),
    }


def _place_of(item: Append, position: int, before: int | None, after: int | None) -> dict[str, Any]:
    """The columns that an outlier gets with its place."""
    return {
        "position": position,
        "standing": standing_code(item.standing),
        "reason": item.reason,
        "state_before_nid": before,
        "state_after_nid": after,
        "notify": item.notify,
        "thread_root": item.thread_root,
        "redacted_by_nid": item.redacted_by.nid if item.redacted_by is not None else None,
    }


def _find_outlier(tx: Transaction, event_id: str) -> int | None:
    """The row number of an event that is stored as an outlier."""
    found: int | None = tx.connection.execute(_FIND_OUTLIER, {"target": event_id}).scalar()
    return found


def _note_consequences(item: Append, progress: _Progress, nid: int, position: int) -> None:
    """What other rows learn from an accepted event: what it relates to, redacts and mentions."""
    event, room_nid = item.event, progress.room_nid
    relation = relation_of(event.content) if event.state_key is None else None
    if relation is not None:
        values = {
            "child_nid": nid,
            "parent_event_id": relation.event_id,
            "room_nid": room_nid,
            "rel_type": relation.rel_type,
            "type": event.type,
            "sender": event.sender,
            "aggregation_key": relation.key,
            "position": position,
            "depth": event.depth,
        }
        progress.add(_INSERT_RELATION, values)
    if event.redacts is not None:
        progress.add(_INSERT_REDACTION, {"redaction_nid": nid, "redacts_event_id": event.redacts})
    for mention in item.mentions:
        values = {
            "user_id": mention.user_id,
            "event_nid": nid,
            "room_nid": room_nid,
            "position": position,
            "thread_root": item.thread_root,
            "notify": int(mention.notify),
            "highlight": int(mention.highlight),
            "created_ms": event.origin_server_ts,
        }
        progress.add(_INSERT_MENTION, values)


def _redact(tx: Transaction, item: Append, progress: _Progress) -> None:
    redaction = progress.groups.nids[item.event.event_id]
    tx.connection.execute(_REDACT, {"target": item.redacts, "room": progress.room_nid, "redaction": redaction})
    tx.connection.execute(_UNMENTION, {"target": item.redacts})


def _record_state(tx: Transaction, batch: AppendBatch, progress: _Progress) -> MemberCounts | None:
    """Write down that the room's current state changed: when, its members, its summary."""
    log = {"room_nid": progress.room_nid, "position": progress.position, "state_group_nid": progress.group}
    tx.connection.execute(_INSERT_STATE_LOG, log)
    return record_current_state(
        tx.connection, progress.room_nid, _current_events(tx, progress), progress.position, batch.server_name
    )


def record_current_state(
    connection: Connection,
    room_nid: int,
    changes: Mapping[StateKey, StoredEvent | None],
    position: int,
    server_name: str,
) -> MemberCounts | None:
    """Bring members and summary in step with changes of the state. Returns the numbers of members if they changed."""
    members = {state_key: stored for (kind, state_key), stored in changes.items() if kind == "m.room.member"}
    steps = NO_STEPS
    if members:
        steps = record_memberships(connection, room_nid, members, position, server_name)
    return update_summary(connection, room_nid, changes, steps)


def _current_events(tx: Transaction, progress: _Progress) -> dict[StateKey, StoredEvent | None]:
    found = {stored.event_id: stored for stored in progress.written}
    missing = [event_id for event_id in progress.changes.values() if event_id is not None and event_id not in found]
    found.update(load_events(tx.connection, missing))
    return {key: found[event_id] if event_id is not None else None for key, event_id in progress.changes.items()}


def _users_concerned(appended: Appended) -> tuple[str, ...]:
    """Users who must hear of this although they may not be joined to the room: those whose membership it is."""
    return tuple(state_key for event_type, state_key in appended.state_changes if event_type == "m.room.member")
