"""Relationships between events: replies, edits, reactions, threads, references.

Spec: client-server-api #forming-relationships-between-events
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from homeserver.protocol.events import Event

ANNOTATION: Final = "m.annotation"
REFERENCE: Final = "m.reference"
REPLACE: Final = "m.replace"
THREAD: Final = "m.thread"


@dataclass(frozen=True, slots=True)
class Relation:
    """What an event says of its parent. `key` belongs to annotations.

    `in_reply_to` is the event it replies to; with `is_falling_back` only for the sake of clients without threads.
    """

    rel_type: str
    event_id: str
    key: str | None = None
    in_reply_to: str | None = None
    is_falling_back: bool = False


def relation_of(content: Mapping[str, Any]) -> Relation | None:
    """The relationship with a `rel_type`; None when there is none, or it does not match the schema."""
    relates_to = content.get("m.relates_to")
    if not isinstance(relates_to, dict):
        return None
    rel_type, event_id, key = relates_to.get("rel_type"), relates_to.get("event_id"), relates_to.get("key")
    if not isinstance(rel_type, str) or not isinstance(event_id, str):
        return None
    return Relation(
        rel_type,
        event_id,
        key if isinstance(key, str) else None,
        reply_target_of(content),
        relates_to.get("is_falling_back") is True,
    )


def reply_target_of(content: Mapping[str, Any]) -> str | None:
    """The event that this one is a rich reply to.

    Spec: client-server-api #rich-replies
    """
    relates_to = content.get("m.relates_to")
    in_reply_to = relates_to.get("m.in_reply_to") if isinstance(relates_to, dict) else None
    event_id = in_reply_to.get("event_id") if isinstance(in_reply_to, dict) else None
    return event_id if isinstance(event_id, str) else None


def thread_root_of(content: Mapping[str, Any]) -> str | None:
    """The root of the thread that the event itself says it is in.

    Spec: client-server-api #threading
    """
    relation = relation_of(content)
    return relation.event_id if relation is not None and relation.rel_type == THREAD else None


def can_be_thread_root(content: Mapping[str, Any]) -> bool:
    """Whether a thread may start at an event: not at one that is itself the child of a relationship."""
    return relation_of(content) is None


def is_valid_edit(original: Event, edit: Event) -> bool:
    """Whether the edit takes effect; otherwise it is ignored.

    Spec: client-server-api #validity-of-replacement-events
    """
    relation = relation_of(edit.content)
    if relation is None or relation.rel_type != REPLACE or relation.event_id != original.event_id:
        return False
    if original.room_id != edit.room_id or original.sender != edit.sender or original.type != edit.type:
        return False
    if original.is_state or edit.is_state:
        return False
    relation_of_original = relation_of(original.content)
    if relation_of_original is not None and relation_of_original.rel_type == REPLACE:
        return False
    # The new content of an encrypted edit is out of the server's sight.
    return edit.type == "m.room.encrypted" or isinstance(edit.content.get("m.new_content"), dict)
