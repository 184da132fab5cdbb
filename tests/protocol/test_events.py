from __future__ import annotations

import pytest
from protocol.room_builder import ALICE, BOB, new_room

from homeserver.protocol.events import Event
from homeserver.protocol.room_versions import ROOM_VERSIONS


@pytest.mark.parametrize("version", ROOM_VERSIONS)
def test_fields_of_a_member_event(version: str) -> None:
    room = new_room(version)
    event = room.member(BOB, "join")
    assert (event.type, event.sender, event.state_key, event.membership) == ("m.room.member", BOB, BOB, "join")
    assert event.is_state
    assert event.key == ("m.room.member", BOB)
    assert event.depth == 5
    assert event.room_id == room.room_id
    assert event.prev_event_ids == (room.events[event.prev_event_ids[0]].event_id,)
    assert all(auth_id in room.events for auth_id in event.auth_event_ids)
    assert event.unsigned == {}
    assert event.redacts is None
    assert Event(event.pdu, room.version) == event
    assert Event(event.pdu, room.version).event_id == event.event_id


@pytest.mark.parametrize("version", ROOM_VERSIONS)
def test_redacts_wherever_the_version_keeps_it(version: str) -> None:
    room = new_room(version)
    message = room.send("m.room.message", ALICE, {"body": "x"})
    redaction = room.make("m.room.redaction", ALICE, {"reason": "y"}, redacts=message.event_id)
    assert redaction.redacts == message.event_id
    assert ("redacts" in redaction.content) is (version in {"11", "12"})
    assert ("redacts" in redaction.pdu) is (version not in {"11", "12"})


@pytest.mark.parametrize("version", ROOM_VERSIONS)
def test_redacted_copy(version: str) -> None:
    room = new_room(version)
    message = room.send("m.room.message", ALICE, {"body": "x"})
    redaction = room.make("m.room.redaction", ALICE, {}, redacts=message.event_id)
    copy = message.redacted(redaction)
    assert copy == message
    assert copy.content == {}
    assert copy.redacted_because is redaction
    assert copy.is_redacted
    assert not message.is_redacted
    assert message.content == {"body": "x"}
    assert room.create is not None
    assert room.create.redacted().room_id == room.room_id


def test_equality_is_by_id() -> None:
    room = new_room()
    first = room.send("m.room.message", ALICE, {"body": "x"})
    second = room.send("m.room.message", ALICE, {"body": "x"})
    assert first != second
    assert len({first, second, Event(first.pdu, room.version)}) == 2
    assert first != "x"
    assert first.event_id in repr(first)


def test_message_event_has_no_key() -> None:
    event = new_room().send("m.room.message", ALICE, {})
    assert not event.is_state
    with pytest.raises(ValueError, match="not a state event"):
        _ = event.key


def test_membership_of_odd_content() -> None:
    room = new_room()
    assert room.make("m.room.member", BOB, {"membership": 5}, BOB).membership is None
    assert room.make("m.room.message", BOB, {"membership": "join"}).membership is None
