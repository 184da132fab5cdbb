from __future__ import annotations

import pytest
from protocol.room_builder import ALICE, BOB, CAROL, RoomBuilder, new_room

from homeserver.protocol.events import Event
from homeserver.protocol.receipt import (
    ACCEPTED,
    Standing,
    judge_by_auth_events,
    judge_by_current_state,
    judge_by_state_before,
    required_signatures,
    unaltered_or_redacted,
)
from homeserver.protocol.room_versions import ROOM_VERSIONS

ALL = list(ROOM_VERSIONS)


def auth_events_of(room: RoomBuilder, event: Event) -> list[Event]:
    return [room.events[event_id] for event_id in event.auth_event_ids]


@pytest.mark.parametrize("version", ALL)
class TestRequiredSignatures:
    def test_server_of_the_sender(self, version: str) -> None:
        room = new_room(version)
        assert required_signatures(room.make("m.room.message", ALICE, {})) == {"one"}
        assert required_signatures(room.make("m.room.message", CAROL, {})) == {"two"}

    def test_server_of_the_event_id(self, version: str) -> None:
        room = new_room(version)
        event = Event({**room.make("m", ALICE, {}).pdu, "event_id": "$x:three"}, room.version)
        assert required_signatures(event) == ({"one", "three"} if version in {"1", "2"} else {"one"})

    def test_server_that_authorised_a_restricted_join(self, version: str) -> None:
        room = new_room(version)
        content = {"membership": "join", "join_authorised_via_users_server": ALICE}
        join = room.make("m.room.member", CAROL, content, CAROL)
        assert required_signatures(join) == ({"one", "two"} if int(version) >= 8 else {"two"})

    def test_third_party_invites_may_come_from_anywhere(self, version: str) -> None:
        room = new_room(version)
        invite = room.make("m.room.member", ALICE, {"membership": "invite", "third_party_invite": {}}, BOB)
        assert required_signatures(invite) == ({"one"} if version in {"1", "2"} else set())


@pytest.mark.parametrize("version", ALL)
class TestSteps:
    def test_hash(self, version: str) -> None:
        room = new_room(version)
        event = room.make("m.room.message", ALICE, {"body": "x"})
        assert unaltered_or_redacted(event) is event
        altered = Event({**event.pdu, "content": {"body": "y"}}, room.version, event.event_id)
        assert unaltered_or_redacted(altered).content == {}
        assert unaltered_or_redacted(altered).event_id == event.event_id

    def test_auth_events(self, version: str) -> None:
        room = new_room(version)
        event = room.make("m.room.message", ALICE, {"body": "x"})
        auth = auth_events_of(room, event)
        assert judge_by_auth_events(event, auth, room.create) == ACCEPTED
        verdict = judge_by_auth_events(event, auth, room.create, is_rejected=lambda _: True)
        assert verdict.standing is Standing.REJECTED
        assert verdict.reason
        stranger = room.make("m.room.message", BOB, {})
        assert judge_by_auth_events(stranger, auth_events_of(room, stranger), room.create).standing is Standing.REJECTED

    def test_state_before_rejects_and_current_state_soft_fails(self, version: str) -> None:
        room = new_room(version)
        room.member(BOB, "join")
        event = room.make("m.room.message", BOB, {})
        assert judge_by_state_before(event, room.state, room.create) == ACCEPTED
        assert judge_by_current_state(event, room.state, room.create) == ACCEPTED
        room.member(BOB, "ban", ALICE)
        before = judge_by_state_before(event, room.state, room.create)
        current = judge_by_current_state(event, room.state, room.create)
        assert (before.standing, current.standing) == (Standing.REJECTED, Standing.SOFT_FAILED)
        assert before.refusal == current.refusal
        assert before.refusal is not None
        assert before.refusal.rule == "sender.not_joined"
        assert str(before.refusal) == before.reason


def test_accepted_has_no_reason() -> None:
    assert ACCEPTED.reason is None
