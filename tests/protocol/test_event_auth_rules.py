from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol.json_strategies import any_values
from protocol.room_builder import ALICE, BOB, CAROL, RoomBuilder, new_room

from homeserver.protocol.event_auth import authorise, check_auth_events
from homeserver.protocol.events import Event
from homeserver.protocol.refusal import Refusal
from homeserver.protocol.room_versions import ROOM_VERSIONS

ALL = list(ROOM_VERSIONS)


def creator(version: str) -> dict[str, Any]:
    return {} if version == "12" else {ALICE: 100}


@pytest.mark.parametrize("version", ALL)
class TestRules:
    def test_sender_must_be_joined(self, version: str) -> None:
        room = new_room(version)
        assert room.refusal("m.room.message", BOB, {}) == "sender.not_joined"
        for membership, sender in (("invite", ALICE), ("join", BOB), ("leave", BOB), ("ban", ALICE)):
            room.member(BOB, membership, sender)
            assert room.refusal("m.room.message", BOB, {}) == (None if membership == "join" else "sender.not_joined")

    def test_required_level(self, version: str) -> None:
        room = new_room(version)
        room.member(BOB, "join")
        assert room.refusal("m.room.topic", BOB, {}, "") == "sender.power"
        assert room.refusal("m.room.topic", BOB, {}) is None
        room.power(ALICE, {**creator(version), BOB: 10}, events={"m.room.topic": 10, "m.room.message": 11})
        assert room.refusal("m.room.topic", BOB, {}, "") is None
        assert room.refusal("m.room.message", BOB, {}) == "sender.power"

    def test_state_keys_of_users(self, version: str) -> None:
        room = new_room(version)
        assert room.refusal("org.example", ALICE, {}, ALICE) is None
        assert room.refusal("org.example", ALICE, {}, BOB) == "state_key.other_user"
        assert room.refusal("org.example", ALICE, {}, "@") == "state_key.other_user"

    def test_third_party_invite_needs_the_invite_level(self, version: str) -> None:
        room = new_room(version)
        room.member(BOB, "join")
        assert room.refusal("m.room.third_party_invite", BOB, {}, "token") is None
        room.power(ALICE, creator(version), invite=50)
        assert room.refusal("m.room.third_party_invite", BOB, {}, "token") == "third_party_invite.power"
        assert room.refusal("m.room.third_party_invite", CAROL, {}, "token") == "sender.not_joined"

    def test_rooms_that_do_not_federate(self, version: str) -> None:
        room = new_room(version, **{"m.federate": False})
        assert room.member_refusal(BOB, "join") is None
        assert room.member_refusal(CAROL, "join") == "room.federate"
        assert new_room(version, **{"m.federate": "false"}).member_refusal(CAROL, "join") is None

    def test_without_a_create_event(self, version: str) -> None:
        room = new_room(version)
        event = room.make("m.room.message", ALICE, {})
        del room.state["m.room.create", ""]
        refused = authorise(event, room.state)
        assert refused is not None
        assert refused.rule == "room.unknown"
        assert authorise(event, room.state, room.create) is None

    def test_create_event_of_another_room(self, version: str) -> None:
        room, other = new_room(version), new_room(version, other=True)
        other_create = other.create
        assert other_create is not None
        if version != "12":
            other_create = Event({**other_create.pdu, "room_id": "!other:one"}, other.version)
        refused = authorise(room.make("m.room.message", ALICE, {}), room.state, other_create)
        assert refused is not None
        assert refused.rule == "room.create"

    def test_aliases(self, version: str) -> None:
        room = new_room(version)
        is_special = int(version) < 6
        assert room.refusal("m.room.aliases", BOB, {}, "one") == (None if is_special else "sender.not_joined")
        assert room.refusal("m.room.aliases", BOB, {}, "two") == (
            "aliases.domain" if is_special else "sender.not_joined"
        )
        assert room.refusal("m.room.aliases", BOB, {}) == ("aliases.state_key" if is_special else "sender.not_joined")
        assert room.refusal("m.room.aliases", ALICE, {}, "two") == ("aliases.domain" if is_special else None)

    def test_redaction(self, version: str) -> None:
        room = new_room(version)
        for user in (BOB, CAROL):
            room.member(user, "join")
        message = room.send("m.room.message", BOB, {"body": "x"})

        def refusal(sender: str) -> str | None:
            refused = room.judge(room.make("m.room.redaction", sender, {}, redacts=message.event_id))
            return None if refused is None else refused.rule

        assert refusal(ALICE) is None
        assert refusal(BOB) is None
        # In the first room versions it is the event ID's domain that counts.
        assert refusal(CAROL) == ("redaction.power" if version in {"1", "2"} else None)
        room.power(ALICE, creator(version), redact=0)
        assert refusal(CAROL) is None


@pytest.mark.parametrize("version", ALL)
class TestAuthEvents:
    def judge(self, room: RoomBuilder, event: Event, auth_events: list[Event], rejected: str = "") -> str | None:
        refused = check_auth_events(event, auth_events, is_rejected=lambda event_id: event_id == rejected)
        return None if refused is None else refused.rule

    def test_selection(self, version: str) -> None:
        room = new_room(version)
        event = room.make("m.room.message", ALICE, {})
        auth = [room.events[event_id] for event_id in event.auth_event_ids]
        message = room.send("m.room.message", ALICE, {})
        assert len(auth) == (2 if version == "12" else 3)
        assert self.judge(room, event, auth) is None
        assert self.judge(room, event, auth[:-1]) is None
        assert self.judge(room, event, [*auth, auth[0]]) == "auth_events.duplicate"
        assert self.judge(room, event, [*auth, room.state["m.room.join_rules", ""]]) == "auth_events.extra"
        assert self.judge(room, event, [*auth, message]) == "auth_events.extra"
        assert self.judge(room, event, auth, rejected=auth[1].event_id) == "auth_events.rejected"

    def test_create_event(self, version: str) -> None:
        room = new_room(version)
        assert room.create is not None
        event = room.make("m.room.message", ALICE, {})
        others = [room.state["m.room.member", ALICE]]
        assert self.judge(room, event, others) == (None if version == "12" else "auth_events.no_create")
        expected = "auth_events.extra" if version == "12" else None
        assert self.judge(room, event, [room.create, *others]) == expected

    def test_other_room(self, version: str) -> None:
        room = new_room(version)
        event = room.make("m.room.message", ALICE, {})
        auth = [room.events[event_id] for event_id in event.auth_event_ids]
        foreign = Event({**auth[-1].pdu, "room_id": "!other:one"}, room.version, auth[-1].event_id)
        assert self.judge(room, event, [*auth[:-1], foreign]) == "auth_events.other_room"

    def test_create_event_itself_is_not_judged_by_them(self, version: str) -> None:
        room = new_room(version)
        assert room.create is not None
        assert self.judge(room, room.create, []) is None


ROOMS = {version: new_room(version) for version in ALL}
TYPES = [
    "m.room.create", "m.room.member", "m.room.power_levels", "m.room.join_rules", "m.room.aliases", "m.room.redaction",
    "m.room.third_party_invite", "m.room.message",
]  # fmt: skip


@given(
    st.sampled_from(ALL),
    st.sampled_from(TYPES),
    st.sampled_from([ALICE, BOB]),
    st.sampled_from([None, "", ALICE, BOB, "one"]),
    st.dictionaries(
        st.sampled_from(["membership", "users", "events", "ban", "third_party_invite", "additional_creators",
                         "room_version", "creator", "join_authorised_via_users_server", "join_rule"]),
        any_values | st.sampled_from(["join", "invite", "leave", "ban", "knock"]),
        max_size=4,
    ),
)  # fmt: skip
def test_never_crashes(version: str, kind: str, sender: str, state_key: str | None, content: dict[str, Any]) -> None:
    room = ROOMS[version]
    template = room.make("m.x", sender, {})
    pdu = {**template.pdu, "type": kind, "content": content}
    if state_key is not None:
        pdu["state_key"] = state_key
    event = Event(pdu, room.version, "$some:one")
    refused = authorise(event, room.state, room.create)
    assert refused is None or (isinstance(refused, Refusal) and refused.reason.endswith("."))
    # The event as part of the state must not break the judging of others either.
    if event.is_state and kind != "m.room.create":
        authorise(template, {**room.state, event.key: event}, room.create)
        authorise(
            room.make("m.room.member", BOB, {"membership": "join"}, BOB), {**room.state, event.key: event}, room.create
        )
