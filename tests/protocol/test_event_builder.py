from __future__ import annotations

from typing import Any

import pytest
from protocol.room_builder import ALICE, BOB, CAROL, KEY, new_room

from homeserver.protocol.event_builder import EventDraft, PrevEvent, auth_state_keys, build_event
from homeserver.protocol.event_hashes import has_valid_content_hash, reference_hash_base64, verify_event_signature
from homeserver.protocol.events import StateKey
from homeserver.protocol.room_versions import ROOM_VERSIONS, V1, V7, V8, V11, V12

CREATE: StateKey = ("m.room.create", "")
POWER: StateKey = ("m.room.power_levels", "")
RULES: StateKey = ("m.room.join_rules", "")


def member(user: str) -> StateKey:
    return ("m.room.member", user)


def draft(
    content: dict[str, Any], state_key: str | None = BOB, sender: str = ALICE, kind: str = "m.room.member"
) -> EventDraft:
    return EventDraft("!r:one", kind, sender, content, state_key)


THIRD_PARTY = {"membership": "invite", "third_party_invite": {"signed": {"token": "tok", "mxid": BOB}}}
RESTRICTED = {"membership": "join", "join_authorised_via_users_server": CAROL}


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (draft({}, None, kind="m.room.message"), {POWER, member(ALICE)}),
        (draft({}, "", kind="m.room.topic"), {POWER, member(ALICE)}),
        (draft({"membership": "join"}, BOB, BOB), {POWER, member(BOB), RULES}),
        (draft({"membership": "invite"}), {POWER, member(ALICE), member(BOB), RULES}),
        (draft({"membership": "knock"}, BOB, BOB), {POWER, member(BOB), RULES}),
        (draft({"membership": "leave"}), {POWER, member(ALICE), member(BOB)}),
        (draft({"membership": "ban"}), {POWER, member(ALICE), member(BOB)}),
        (draft(THIRD_PARTY), {POWER, member(ALICE), member(BOB), RULES, ("m.room.third_party_invite", "tok")}),
        (draft({"membership": "invite", "third_party_invite": 5}), {POWER, member(ALICE), member(BOB), RULES}),
        (draft({"membership": "join"}, None), {POWER, member(ALICE)}),
        (draft({}), {POWER, member(ALICE), member(BOB)}),
    ],
)
def test_auth_events_selection(event: EventDraft, expected: set[StateKey]) -> None:
    for version in (V1, V11):
        keys = auth_state_keys(event, version)
        assert set(keys) == expected | {CREATE}
        assert len(keys) == len(set(keys))
    assert set(auth_state_keys(event, V12)) == expected


def test_selection_for_restricted_joins() -> None:
    join = draft(RESTRICTED, BOB, BOB)
    assert member(CAROL) in auth_state_keys(join, V8)
    assert member(CAROL) not in auth_state_keys(join, V7)
    assert member(CAROL) not in auth_state_keys(draft({**RESTRICTED, "membership": "leave"}, BOB, BOB), V8)
    assert auth_state_keys(draft({**RESTRICTED, "join_authorised_via_users_server": BOB}, BOB, BOB), V12) == [
        POWER, member(BOB), RULES,
    ]  # fmt: skip


def test_create_has_no_auth_events() -> None:
    for version in ROOM_VERSIONS.values():
        assert auth_state_keys(draft({}, "", kind="m.room.create"), version) == []


@pytest.mark.parametrize("version", ROOM_VERSIONS)
def test_built_events(version: str) -> None:
    room = new_room(version)
    event = room.send("m.room.message", ALICE, {"body": "x"})
    assert has_valid_content_hash(event.pdu)
    assert verify_event_signature(event.pdu, room.version, "one", KEY.key_id, KEY.verify_key)
    assert event.pdu["room_id"] == room.room_id
    assert "origin" not in event.pdu
    if version in {"1", "2"}:
        assert event.event_id == event.pdu["event_id"] == f"$event{room.clock[0]}:one"
        [[prev_id, hashes]] = event.pdu["prev_events"]
        assert hashes == {"sha256": reference_hash_base64(room.events[prev_id].pdu, room.version)}
    else:
        assert "event_id" not in event.pdu
        assert all(isinstance(reference, str) for reference in event.pdu["prev_events"] + event.pdu["auth_events"])


def build(version: str, prev: list[PrevEvent]) -> dict[str, Any]:
    return build_event(
        EventDraft("!r:one", "m.room.message", ALICE, {"body": "x"}, unsigned={"a": 1}),
        ROOM_VERSIONS[version],
        prev_events=prev,
        auth_events=[],
        origin_server_ts=5,
        server_name="one",
        signing_key=KEY,
        event_localpart="abc",
    ).pdu


def test_depth_is_the_greatest_plus_one_within_the_limit() -> None:
    assert build("11", [PrevEvent("$a", 3), PrevEvent("$b", 7)])["depth"] == 8
    assert build("11", [])["depth"] == 1
    assert build("11", [PrevEvent("$a", 2**53 - 1)])["depth"] == 2**53 - 1
    assert build("1", [PrevEvent("$a:b", 2**53 - 1, "hash")])["depth"] == 2**53
    assert build("1", [PrevEvent("$a:b", 2**63 - 1, "hash")])["depth"] == 2**63 - 1


def test_prev_events_need_no_event() -> None:
    assert build("1", [PrevEvent("$a:b", 1, "hash")])["prev_events"] == [["$a:b", {"sha256": "hash"}]]
    assert build("12", [PrevEvent("$a", 1)])["prev_events"] == ["$a"]
    assert build("12", [])["unsigned"] == {"a": 1}


def test_content_is_not_changed_by_redacts() -> None:
    room = new_room("12")
    content: dict[str, Any] = {}
    room.make("m.room.redaction", ALICE, content, redacts="$x")
    assert content == {}
