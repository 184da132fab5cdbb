"""Deletes what the log need not keep: transaction ids, mentions, the content of redacted events.

The events themselves stay: their hashes hold the room together.
"""

from __future__ import annotations

import orjson
from sqlalchemy import bindparam, delete, select, update

from homeserver.protocol.redaction import redact
from homeserver.protocol.room_versions import get_room_version
from homeserver.storage.database import Transaction
from homeserver.storage.tables.events import event_mentions, events, transaction_ids
from homeserver.storage.tables.rooms import rooms

_redactions = events.alias("redactions_of")
_OLD_TRANSACTIONS = delete(transaction_ids).where(transaction_ids.c.created_ms < bindparam("before_ms"))
_OLD_MENTIONS = delete(event_mentions).where(event_mentions.c.created_ms < bindparam("before_ms"))
_UNSTRIPPED = (
    select(events.c.nid, events.c.pdu, rooms.c.version)
    .join(rooms, rooms.c.nid == events.c.room_nid)
    .join(_redactions, _redactions.c.nid == events.c.redacted_by_nid)
    .where(
        events.c.redacted_by_nid.is_not(None),
        events.c.stripped.is_(False),
        _redactions.c.origin_server_ts < bindparam("before_ms"),
    )
    .limit(bindparam("most"))
)
_STRIP = update(events).where(events.c.nid == bindparam("event")).values(pdu=bindparam("new_pdu"), stripped=True)


def delete_old_transactions(tx: Transaction, before_ms: int) -> None:
    """Forget how devices named what they sent before then: sending it again makes a new event."""
    tx.connection.execute(_OLD_TRANSACTIONS, {"before_ms": before_ms})


def delete_old_mentions(tx: Transaction, before_ms: int) -> None:
    """Forget who was mentioned before then."""
    tx.connection.execute(_OLD_MENTIONS, {"before_ms": before_ms})


def strip_redacted(tx: Transaction, before_ms: int, most: int) -> int:
    """Remove for good what was redacted before then; how many events that were, at most `most`."""
    rows = tx.connection.execute(_UNSTRIPPED, {"before_ms": before_ms, "most": most}).all()
    for nid, pdu, version in rows:
        stripped = redact(orjson.loads(pdu), get_room_version(version))
        tx.connection.execute(_STRIP, {"event": nid, "new_pdu": orjson.dumps(stripped)})
    return len(rows)
