from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from protocol.json_strategies import any_values, objects_with
from protocol.room_builder import ALICE, BOB, new_room

from homeserver.protocol.events import Event
from homeserver.protocol.relations import (
    Relation,
    can_be_thread_root,
    is_valid_edit,
    relation_of,
    reply_target_of,
    thread_root_of,
)

ROOM = new_room()
ROOM.member(BOB, "join")


def relates(**relates_to: Any) -> dict[str, Any]:
    return {"m.relates_to": relates_to}


def test_relations() -> None:
    reaction = relates(rel_type="m.annotation", event_id="$a", key="👍")
    assert relation_of(reaction) == Relation("m.annotation", "$a", "👍")
    threaded = relates(
        rel_type="m.thread", event_id="$a", is_falling_back=True, **{"m.in_reply_to": {"event_id": "$b"}}
    )
    assert relation_of(threaded) == Relation("m.thread", "$a", None, "$b", True)
    assert thread_root_of(threaded) == "$a"
    assert thread_root_of(reaction) is None
    assert not can_be_thread_root(threaded)


def test_replies_are_no_relations() -> None:
    reply = relates(**{"m.in_reply_to": {"event_id": "$b"}})
    assert relation_of(reply) is None
    assert reply_target_of(reply) == "$b"
    assert can_be_thread_root(reply)


@pytest.mark.parametrize(
    "content",
    [
        {},
        relates(),
        relates(rel_type="x"),
        relates(event_id="$x"),
        relates(rel_type=5, event_id="$x"),
        {"m.relates_to": 5},
    ],
)
def test_malformed_relations_are_ignored(content: dict[str, Any]) -> None:
    assert relation_of(content) is None
    assert reply_target_of(content) is None
    assert thread_root_of(content) is None


def original(kind: str = "m.room.message", content: dict[str, Any] | None = None, **given: Any) -> Event:
    return ROOM.make(kind, given.get("sender", ALICE), content or {"body": "x"}, given.get("state_key"))


def edit(of: Event, kind: str = "m.room.message", **given: Any) -> Event:
    content = relates(rel_type=given.get("rel_type", "m.replace"), event_id=of.event_id)
    if given.get("new_content", True):
        content["m.new_content"] = {"body": "y"}
    return ROOM.make(kind, given.get("sender", ALICE), content, given.get("state_key"))


def test_valid_edits() -> None:
    message = original()
    assert is_valid_edit(message, edit(message))
    encrypted = original("m.room.encrypted")
    assert is_valid_edit(encrypted, edit(encrypted, "m.room.encrypted", new_content=False))
    threaded = original(content=relates(rel_type="m.thread", event_id="$root"))
    assert is_valid_edit(threaded, edit(threaded))


def test_invalid_edits() -> None:
    message = original()
    assert not is_valid_edit(message, edit(message, sender=BOB))
    assert not is_valid_edit(message, edit(message, "m.room.encrypted"))
    assert not is_valid_edit(message, edit(message, new_content=False))
    assert not is_valid_edit(message, edit(message, state_key=""))
    assert not is_valid_edit(message, edit(message, rel_type="m.thread"))
    assert not is_valid_edit(message, edit(original()))
    assert not is_valid_edit(message, message)
    first_edit = edit(message)
    assert not is_valid_edit(first_edit, edit(first_edit))
    state = original(state_key="")
    assert not is_valid_edit(state, edit(state))
    elsewhere = Event({**edit(message).pdu, "room_id": "!other:one"}, ROOM.version)
    assert not is_valid_edit(message, elsewhere)


@given(objects_with("m.relates_to", values=any_values | objects_with("rel_type", "event_id", "key", "m.in_reply_to")))
def test_never_crashes(content: dict[str, Any]) -> None:
    relation_of(content)
    reply_target_of(content)
    thread_root_of(content)
