"""Commits as bytes, for the other processes of a server: what changed, and events whole, to spare reading them.

A detail that is too large, or of a kind that only its own process uses, is left out; the receiver then forgets what it
has in memory and reads it from the database.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from homeserver.protocol.events import Event
from homeserver.protocol.receipt import Standing
from homeserver.protocol.room_versions import get_room_version
from homeserver.storage.changes import Change
from homeserver.storage.database import Commit
from homeserver.storage.events import Mention, StoredEvent, TransactionId
from homeserver.storage.receipts import Receipt
from homeserver.storage.room_log import Appended, Extremity
from homeserver.storage.room_summaries import MemberCounts

_MOST_EVENTS = 50
_MOST_STATE_CHANGES = 500


def encode_commit(commit: Commit) -> bytes:
    """The commit as JSON."""
    changes = [
        [change.position, change.subject, change.room_id, change.user_ids, _encode_detail(change.detail)]
        for change in commit.changes
    ]
    return orjson.dumps([commit.after, commit.position, changes])


def decode_commit(message: bytes) -> Commit:
    """Raises ValueError or KeyError for what is no commit of this version of the server."""
    after, position, changes = orjson.loads(message)
    return Commit(
        [
            Change(at, subject, room_id, tuple(user_ids), _decode_detail(detail))
            for at, subject, room_id, user_ids, detail in changes
        ],
        after,
        position,
    )


def _encode_detail(detail: Any) -> Any:
    if isinstance(detail, Receipt):
        return ["receipt", list(detail)]
    if isinstance(detail, Appended):
        return _encode_appended(detail)
    if isinstance(detail, str):
        return ["text", detail]
    return None


def _decode_detail(detail: Any) -> Any:
    if detail is None:
        return None
    kind, value = detail
    decode: dict[str, Callable[[Any], Any]] = {
        "receipt": lambda fields: Receipt(*fields),
        "text": str,
        "appended": _decode_appended,
    }
    return decode[kind](value)


def _encode_appended(appended: Appended) -> Any:
    if len(appended.events) > _MOST_EVENTS or len(appended.state_changes) > _MOST_STATE_CHANGES:
        return None
    redactions = {target: redaction.event_id for target, redaction in appended.redactions.items()}
    written = {stored.event_id for stored in appended.events}
    if not written.issuperset(redactions.values()):
        return None
    return [
        "appended",
        {
            "room_id": appended.room_id,
            "version": appended.events[0].event.room_version.identifier,
            "revision": appended.revision,
            "extremities": [list(extremity) for extremity in appended.extremities],
            "state_group": appended.state_group,
            "state": [[kind, key, event_id] for (kind, key), event_id in appended.state_changes.items()],
            "redactions": redactions,
            "members": list(appended.members) if appended.members is not None else None,
            "adopted": appended.adopted,
            "events": [_encode_event(stored) for stored in appended.events],
        },
    ]


def _decode_appended(fields: dict[str, Any]) -> Appended:
    version = fields["version"]
    events = tuple(_decode_event(version, event) for event in fields["events"])
    by_id = {stored.event_id: stored.event for stored in events}
    return Appended(
        fields["room_id"],
        events,
        fields["revision"],
        tuple(Extremity(*extremity) for extremity in fields["extremities"]),
        fields["state_group"],
        {(kind, key): event_id for kind, key, event_id in fields["state"]},
        {target: by_id[event_id] for target, event_id in fields["redactions"].items()},
        MemberCounts(*fields["members"]) if fields["members"] is not None else None,
        fields["adopted"],
    )


def _encode_event(stored: StoredEvent) -> Sequence[Any]:
    redacted_by = stored.redacted_by
    return [
        stored.event.event_id,
        stored.event.pdu,
        stored.nid,
        stored.position,
        stored.standing.value,
        stored.reason,
        stored.state_before,
        stored.state_after,
        stored.notify,
        stored.thread_root,
        list(stored.transaction) if stored.transaction is not None else None,
        [redacted_by.event_id, redacted_by.pdu] if redacted_by is not None else None,
        [list(mention) for mention in stored.mentions],
    ]


def _decode_event(version: str, fields: Sequence[Any]) -> StoredEvent:
    event_id, pdu, nid, position, standing, reason, before, after, notify, thread, transaction, redacted_by, more = (
        fields
    )
    room_version = get_room_version(version)
    return StoredEvent(
        Event(pdu, room_version, event_id=event_id),
        nid,
        position,
        Standing(standing),
        reason,
        before,
        after,
        notify,
        thread,
        TransactionId(*transaction) if transaction is not None else None,
        Event(redacted_by[1], room_version, event_id=redacted_by[0]) if redacted_by is not None else None,
        mentions=tuple(Mention(*mention) for mention in more),
    )
