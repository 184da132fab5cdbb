"""The only writer of events: one function that puts judged events, ours or remote, into the log.

Everything an event changes about its room is written with it, in one transaction, at a cost that does not depend
on how many members the room has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
from sqlalchemy import bindparam, insert, select, update

from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.receipt import Standing
from homeserver.protocol.relations import relation_of
from homeserver.protocol.room_versions import RoomVersion
from homeserver.storage.changes import Change
from homeserver.storage.database import Transaction
from homeserver.storage.events import Mention, StoredEvent, TransactionId, load_events, standing_code
from homeserver.storage.memberships import record_membership
from homeserver.storage.room_state import StateDelta, create_group
from homeserver.storage.room_summaries import MemberCounts, create_summary, load_member_counts_by_nid, update_summary
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


@dataclass(slots=True)
class _Progress:
    room_nid: int
    group: int | None
    written: list[StoredEvent] = field(default_factory=list)
    changes: dict[StateKey, str | None] = field(default_factory=dict)
    position: int = 0


class RoomMoved(Exception):
    """Another writer appended to the room first: judge again against what it left."""


_FIND_ROOM = select(rooms.c.nid, rooms.c.revision, rooms.c.state_group_nid).where(
    rooms.c.room_id == bindparam("wanted_room")
)
_INSERT_ROOM = insert(rooms).returning(rooms.c.nid)
_UPDATE_ROOM = (
    update(rooms)
    .where(rooms.c.nid == bindparam("room"), rooms.c.revision == bindparam("expected"))
    .values(
        revision=bindparam("new_revision"),
        latest_position=bindparam("new_position"),
        state_group_nid=bindparam("new_group"),
        forward_extremities=bindparam("new_extremities"),
    )
)
_INSERT_EVENT = insert(events).returning(events.c.nid)
_INSERT_STATE_LOG = insert(room_state_log)
_INSERT_RELATION = insert(event_relations)
_INSERT_MENTION = insert(event_mentions)
_INSERT_REDACTION = insert(redactions)
_INSERT_TRANSACTION = insert(transaction_ids)
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
    progress = _Progress(room_nid, group)
    for item in batch.appends:
        _append_event(tx, batch, item, progress)
    if batch.current_state is not None:
        progress.group = create_group(tx.connection, room_nid, batch.current_state)
        progress.changes = dict(batch.current_state.changes)
    if progress.changes:
        _record_state(tx, batch, progress)
    values = {
        "room": room_nid,
        "expected": revision,
        "new_revision": revision + 1,
        "new_position": progress.position,
        "new_group": progress.group,
        "new_extremities": orjson.dumps([list(extremity) for extremity in batch.extremities]).decode(),
    }
    if tx.connection.execute(_UPDATE_ROOM, values).rowcount != 1:
        raise RoomMoved(batch.room_id)
    appended = Appended(
        batch.room_id,
        tuple(progress.written),
        revision + 1,
        batch.extremities,
        progress.group,
        progress.changes,
        {item.redacts: item.event for item in batch.appends if item.redacts is not None},
        load_member_counts_by_nid(tx.connection, room_nid) if _changes_members(progress) else None,
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
        before = create_group(tx.connection, progress.room_nid, before)
    after = before
    accepted_state = event.state_key is not None and item.standing is not Standing.REJECTED
    position = tx.next_position()
    nid = _insert_event(tx, item, progress.room_nid, position, before)
    if accepted_state and event.state_key is not None:
        key = (event.type, event.state_key)
        after = create_group(tx.connection, progress.room_nid, StateDelta(before, {key: event.event_id}))
        tx.connection.execute(_SET_STATE_AFTER, {"event": nid, "group": after})
        if item.standing is Standing.ACCEPTED and item.state_before is None:
            progress.group = after
            progress.changes[key] = event.event_id
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
        _record_consequences(tx, item, progress.room_nid, nid, position)
    if item.transaction is not None:
        values = {
            "user_id": event.sender,
            "device_id": item.transaction.device_id,
            "scope": item.scope,
            "transaction_id": item.transaction.transaction_id,
            "event_nid": nid,
            "created_ms": batch.now_ms,
        }
        tx.connection.execute(_INSERT_TRANSACTION, values)


_PLACE_OUTLIER = (
    update(events)
    .where(events.c.event_id == bindparam("target"), events.c.position.is_(None))
    .values(
        position=bindparam("at"),
        standing=bindparam("stands"),
        reason=bindparam("why"),
        state_before_nid=bindparam("group"),
        state_after_nid=bindparam("group"),
        notify=bindparam("notifies"),
        thread_root=bindparam("thread"),
        redacted_by_nid=bindparam("redaction"),
    )
    .returning(events.c.nid)
)
_SET_STATE_AFTER = update(events).where(events.c.nid == bindparam("event")).values(state_after_nid=bindparam("group"))


def _insert_event(tx: Transaction, item: Append, room_nid: int, position: int, group: int | None) -> int:
    event = item.event
    if item.may_be_known:
        nid = _place_outlier(tx, item, position, group)
        if nid is not None:
            return nid
    values: dict[str, Any] = {
        "event_id": event.event_id,
        "room_nid": room_nid,
        "position": position,
        "depth": event.depth,
        "type": event.type,
        "state_key": event.state_key,
        "sender": event.sender,
        "origin_server_ts": event.origin_server_ts,
        "standing": standing_code(item.standing),
        "reason": item.reason,
        "state_before_nid": group,
        "state_after_nid": group,
        "notify": item.notify,
        "thread_root": item.thread_root,
        "redacted_by_nid": item.redacted_by.nid if item.redacted_by is not None else None,
        "pdu": orjson.dumps(event.pdu),
    }
    return int(tx.connection.execute(_INSERT_EVENT, values).scalar_one())


def _place_outlier(tx: Transaction, item: Append, position: int, group: int | None) -> int | None:
    """Give an event that is stored as an outlier its place; None when it is not stored."""
    values = {
        "target": item.event.event_id,
        "at": position,
        "stands": standing_code(item.standing),
        "why": item.reason,
        "group": group,
        "notifies": item.notify,
        "thread": item.thread_root,
        "redaction": item.redacted_by.nid if item.redacted_by is not None else None,
    }
    found: int | None = tx.connection.execute(_PLACE_OUTLIER, values).scalar()
    return found


def _record_consequences(tx: Transaction, item: Append, room_nid: int, nid: int, position: int) -> None:
    """What other rows learn from an accepted event: what it relates to, redacts and mentions."""
    event = item.event
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
        tx.connection.execute(_INSERT_RELATION, values)
    if event.redacts is not None:
        tx.connection.execute(_INSERT_REDACTION, {"redaction_nid": nid, "redacts_event_id": event.redacts})
    if item.redacts is not None:
        tx.connection.execute(_REDACT, {"target": item.redacts, "room": room_nid, "redaction": nid})
        tx.connection.execute(_UNMENTION, {"target": item.redacts})
    if item.mentions:
        rows = [
            {
                "user_id": mention.user_id,
                "event_nid": nid,
                "room_nid": room_nid,
                "position": position,
                "thread_root": item.thread_root,
                "notify": int(mention.notify),
                "highlight": int(mention.highlight),
                "created_ms": event.origin_server_ts,
            }
            for mention in item.mentions
        ]
        tx.connection.execute(_INSERT_MENTION, rows)


def _record_state(tx: Transaction, batch: AppendBatch, progress: _Progress) -> None:
    """Write down that the room's current state changed: when, its members, its summary."""
    log = {"room_nid": progress.room_nid, "position": progress.position, "state_group_nid": progress.group}
    tx.connection.execute(_INSERT_STATE_LOG, log)
    current = _events_of(tx, progress)
    for (event_type, state_key), event_id in progress.changes.items():
        event = current.get(event_id) if event_id is not None else None
        if event_type == "m.room.member":
            record_membership(
                tx.connection, progress.room_nid, state_key, event, progress.position, server_name=batch.server_name
            )
        else:
            update_summary(tx.connection, progress.room_nid, event_type, state_key, event)


def _events_of(tx: Transaction, progress: _Progress) -> dict[str, StoredEvent]:
    found = {stored.event_id: stored for stored in progress.written}
    missing = [event_id for event_id in progress.changes.values() if event_id is not None and event_id not in found]
    found.update(load_events(tx.connection, missing))
    return found


def _changes_members(progress: _Progress) -> bool:
    return any(event_type == "m.room.member" for event_type, _ in progress.changes)


def _users_concerned(appended: Appended) -> tuple[str, ...]:
    """Users who must hear of this although they may not be joined to the room: those whose membership it is."""
    return tuple(state_key for event_type, state_key in appended.state_changes if event_type == "m.room.member")
