"""Delayed events: rows that wait until they are due, are claimed by who sends them, and are kept for a while.

A claim that nobody follows up is void after a time: its holder has died.

Spec: MSC4140
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import bindparam, delete, func, insert, or_, select, update

from homeserver.storage.tables.delayed_events import delayed_events as table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction

CLAIM_MS = 60_000


@dataclass(frozen=True, slots=True)
class DelayedEvent:
    """An event to be sent `delay_ms` after `scheduled_ms`; once finalised, sent (`event_id`), failed (`error`) or
    cancelled.
    """

    delay_id: str
    user_id: str
    room_id: str
    event_type: str
    state_key: str | None
    content: dict[str, Any]
    timestamp_ms: int | None
    delay_ms: int
    scheduled_ms: int
    finalised_ms: int | None = None
    event_id: str | None = None
    error: dict[str, Any] | None = None

    @property
    def due_ms(self) -> int:
        return self.scheduled_ms + self.delay_ms


_COLUMNS = (
    table.c.delay_id,
    table.c.user_id,
    table.c.room_id,
    table.c.event_type,
    table.c.state_key,
    table.c.content,
    table.c.timestamp_ms,
    table.c.delay_ms,
    table.c.scheduled_ms,
    table.c.finalised_ms,
    table.c.event_id,
    table.c.error,
)
_INSERT = insert(table)
_FIND = select(*_COLUMNS).where(table.c.delay_id == bindparam("wanted"))
_FIND_REPEATED = select(table.c.delay_id).where(
    table.c.user_id == bindparam("of_user"), table.c.transaction_key == bindparam("key")
)
_OF_USER = (
    select(*_COLUMNS)
    .where(table.c.user_id == bindparam("of_user"), table.c.due_ms.is_not(None))
    .order_by(table.c.due_ms, table.c.delay_id)
)
_COUNT = select(func.count(), func.min(table.c.due_ms)).where(
    table.c.user_id == bindparam("of_user"), table.c.due_ms.is_not(None)
)
_UNCLAIMED = or_(table.c.claimed_ms.is_(None), table.c.claimed_ms <= bindparam("claimed_before"))
_DUE = (
    select(table.c.delay_id)
    .where(table.c.due_ms <= bindparam("now"), _UNCLAIMED)
    .order_by(table.c.due_ms, table.c.delay_id)
    .limit(bindparam("most"))
)
_CLAIM = (
    update(table)
    .where(table.c.delay_id == bindparam("wanted"), table.c.due_ms.is_not(None), _UNCLAIMED)
    .values(claimed_ms=bindparam("now"))
    .returning(*_COLUMNS)
)
_NEXT_DUE = select(func.min(table.c.due_ms)).where(_UNCLAIMED)
_GIVE_BACK = update(table).where(table.c.delay_id == bindparam("wanted")).values(claimed_ms=None)
_GIVE_ALL_BACK = update(table).where(table.c.claimed_ms.is_not(None)).values(claimed_ms=None)
_RESTART = (
    update(table)
    .where(table.c.delay_id == bindparam("wanted"), table.c.due_ms.is_not(None), _UNCLAIMED)
    .values(scheduled_ms=bindparam("now"), due_ms=table.c.delay_ms + bindparam("now"), claimed_ms=None)
)
_CANCEL = (
    update(table)
    .where(table.c.delay_id == bindparam("wanted"), table.c.due_ms.is_not(None), _UNCLAIMED)
    .values(due_ms=None, claimed_ms=None, finalised_ms=bindparam("now"))
)
_FINALISE = (
    update(table)
    .where(table.c.delay_id == bindparam("wanted"), table.c.due_ms.is_not(None))
    .values(
        due_ms=None,
        claimed_ms=None,
        finalised_ms=bindparam("now"),
        event_id=bindparam("as_event"),
        error=bindparam("with_error"),
    )
)
_DELETE_OLD = delete(table).where(table.c.finalised_ms <= bindparam("before_ms"))


def schedule(
    tx: Transaction, event: DelayedEvent, transaction_key: str | None, most: int
) -> tuple[str | None, int | None]:
    """The id of the scheduled event, the earlier one's for a repeated request; (None, due_ms of the user's next) when
    the user has `most` scheduled already.
    """
    if transaction_key is not None:
        known = tx.connection.execute(_FIND_REPEATED, {"of_user": event.user_id, "key": transaction_key}).scalar()
        if known is not None:
            return known, None
    count, next_ms = tx.connection.execute(_COUNT, {"of_user": event.user_id}).one()
    if count >= most:
        return None, next_ms
    row = {
        "delay_id": event.delay_id,
        "user_id": event.user_id,
        "transaction_key": transaction_key,
        "room_id": event.room_id,
        "event_type": event.event_type,
        "state_key": event.state_key,
        "content": orjson.dumps(event.content),
        "timestamp_ms": event.timestamp_ms,
        "delay_ms": event.delay_ms,
        "scheduled_ms": event.scheduled_ms,
        "due_ms": event.due_ms,
    }
    tx.connection.execute(_INSERT, row)
    return event.delay_id, None


def find_delayed(connection: Connection, delay_id: str) -> DelayedEvent | None:
    row = connection.execute(_FIND, {"wanted": delay_id}).first()
    return None if row is None else _delayed(row)


def load_scheduled(connection: Connection, user_id: str) -> list[DelayedEvent]:
    """What a user has scheduled, the next to be sent first."""
    return [_delayed(row) for row in connection.execute(_OF_USER, {"of_user": user_id})]


def find_next_due(connection: Connection, now_ms: int) -> int | None:
    """When the next event is due that nobody is sending."""
    due_ms: int | None = connection.execute(_NEXT_DUE, {"claimed_before": now_ms - CLAIM_MS}).scalar()
    return due_ms


def claim_due(tx: Transaction, now_ms: int, most: int) -> list[DelayedEvent]:
    """The events that are due, in order, for the caller alone to send."""
    parameters = {"now": now_ms, "claimed_before": now_ms - CLAIM_MS, "most": most}
    found = tx.connection.execute(_DUE, parameters).scalars().all()
    return [one for delay_id in found if (one := claim(tx, delay_id, now_ms)) is not None]


def claim(tx: Transaction, delay_id: str, now_ms: int) -> DelayedEvent | None:
    """A scheduled event for the caller alone to send; None if it is finalised, or somebody is sending it."""
    parameters = {"wanted": delay_id, "now": now_ms, "claimed_before": now_ms - CLAIM_MS}
    row = tx.connection.execute(_CLAIM, parameters).first()
    return None if row is None else _delayed(row)


def give_back(tx: Transaction, delay_id: str) -> None:
    """It was not sent, and stays scheduled."""
    tx.connection.execute(_GIVE_BACK, {"wanted": delay_id})


def give_all_back(tx: Transaction) -> None:
    """Whoever claimed events has ended."""
    tx.connection.execute(_GIVE_ALL_BACK)


def restart(tx: Transaction, delay_id: str, now_ms: int) -> bool:
    """Count the delay from now; False if it is not scheduled, or just being sent."""
    parameters = {"wanted": delay_id, "now": now_ms, "claimed_before": now_ms - CLAIM_MS}
    return tx.connection.execute(_RESTART, parameters).rowcount == 1


def cancel(tx: Transaction, delay_id: str, now_ms: int) -> bool:
    """Never send it; False if it is not scheduled, or just being sent."""
    parameters = {"wanted": delay_id, "now": now_ms, "claimed_before": now_ms - CLAIM_MS}
    return tx.connection.execute(_CANCEL, parameters).rowcount == 1


def finalise(
    tx: Transaction, delay_id: str, now_ms: int, event_id: str | None, error: Mapping[str, Any] | None
) -> None:
    """Note what became of an event that was due."""
    with_error = None if error is None else orjson.dumps(error)
    parameters = {"wanted": delay_id, "now": now_ms, "as_event": event_id, "with_error": with_error}
    tx.connection.execute(_FINALISE, parameters)


def delete_finalised(tx: Transaction, before_ms: int) -> int:
    """Retention: forget what became of events long ago; how many."""
    return tx.connection.execute(_DELETE_OLD, {"before_ms": before_ms}).rowcount


def _delayed(row: Sequence[Any]) -> DelayedEvent:
    values = list(row)
    values[5] = orjson.loads(values[5])
    values[11] = None if values[11] is None else orjson.loads(values[11])
    return DelayedEvent(*values)
