from __future__ import annotations

import pytest
from protocol.room_builder import ALICE, BOB, new_room

from homeserver.protocol.client_event import to_client_event, to_stripped_state
from homeserver.protocol.room_versions import ROOM_VERSIONS


@pytest.mark.parametrize("version", ROOM_VERSIONS)
class TestClientEvent:
    def test_message(self, version: str) -> None:
        room = new_room(version)
        event = room.make("m.room.message", ALICE, {"body": "x"})
        assert to_client_event(event) == {
            "content": {"body": "x"}, "event_id": event.event_id, "origin_server_ts": event.origin_server_ts,
            "room_id": room.room_id, "sender": ALICE, "type": "m.room.message",
        }  # fmt: skip
        assert "room_id" not in to_client_event(event, with_room_id=False)

    def test_state(self, version: str) -> None:
        room = new_room(version)
        event = room.member(BOB, "join")
        assert to_client_event(event)["state_key"] == BOB
        assert to_stripped_state(event) == {
            "content": {"membership": "join"}, "sender": BOB, "state_key": BOB, "type": "m.room.member",
        }  # fmt: skip
        assert room.create is not None
        assert to_client_event(room.create)["room_id"] == room.room_id
        assert to_client_event(room.create)["state_key"] == ""

    def test_redacts_in_both_places(self, version: str) -> None:
        room = new_room(version)
        message = room.send("m.room.message", ALICE, {"body": "x"})
        redaction = room.make("m.room.redaction", ALICE, {"reason": "y"}, redacts=message.event_id)
        client_event = to_client_event(redaction)
        assert client_event["redacts"] == message.event_id
        assert client_event["content"] == {"reason": "y", "redacts": message.event_id}
        assert redaction.content.get("redacts") == (message.event_id if version in {"11", "12"} else None)

    def test_redacted(self, version: str) -> None:
        room = new_room(version)
        message = room.send("m.room.message", ALICE, {"body": "x"})
        redaction = room.make("m.room.redaction", ALICE, {}, redacts=message.event_id)
        redacted = message.redacted(redaction)
        assert to_client_event(redacted)["content"] == {}
        assert to_client_event(redacted)["unsigned"] == {"redacted_because": to_client_event(redaction)}
        without_room = to_client_event(redacted, with_room_id=False)
        assert "room_id" not in without_room["unsigned"]["redacted_because"]
