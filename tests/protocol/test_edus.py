from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol.json_strategies import any_values, objects_with

from homeserver.protocol.edus import (
    DeviceListUpdate,
    DirectToDevice,
    Edu,
    EduError,
    Presence,
    PresenceUpdate,
    Receipt,
    Receipts,
    SigningKeyUpdate,
    Typing,
    parse_edu,
)

ALICE, ROOM = "@alice:one", "!room:one"


@pytest.mark.parametrize(
    "edu",
    [
        Typing(ROOM, ALICE, True),
        Receipts((Receipt(ROOM, ALICE, "$a", 5), Receipt("!other:one", ALICE, "$b", 6, "main"))),
        Presence((PresenceUpdate(ALICE, "online", 5, "busy", True), PresenceUpdate("@bob:one", "offline", 0))),
        DeviceListUpdate(ALICE, "DEVICE", 6, (4, 5), False, "Mobile", {"keys": {}}),
        DeviceListUpdate(ALICE, "DEVICE", 7, deleted=True),
        SigningKeyUpdate(ALICE, {"a": 1}, {"b": 2}),
        SigningKeyUpdate(ALICE),
        DirectToDevice(ALICE, "m.x", "id", {"@bob:two": {"*": {"body": 1}}}),
    ],
)
def test_round_trip(edu: Edu) -> None:
    assert parse_edu(edu.to_edu(), "one") == edu
    assert parse_edu({**edu.to_edu(), "edu_type": "m.unheard_of"}, "one") is None


def content(edu_type: str, **given: Any) -> dict[str, Any]:
    return {"edu_type": edu_type, "content": given}


@pytest.mark.parametrize(
    "edu",
    [
        Typing(ROOM, ALICE, True), DeviceListUpdate(ALICE, "D", 1), SigningKeyUpdate(ALICE),
        DirectToDevice(ALICE, "t", "id", {}),
    ],
)  # fmt: skip
def test_users_of_other_servers_are_refused(edu: Edu) -> None:
    with pytest.raises(EduError):
        parse_edu(edu.to_edu(), "two")


def test_entries_about_users_of_other_servers_are_dropped() -> None:
    receipts = Receipts((Receipt(ROOM, ALICE, "$a", 5), Receipt(ROOM, "@bob:two", "$b", 6)))
    assert parse_edu(receipts.to_edu(), "two") == Receipts((Receipt(ROOM, "@bob:two", "$b", 6),))
    presence = Presence((PresenceUpdate(ALICE, "online", 1), PresenceUpdate("@bob:two", "online", 1)))
    assert parse_edu(presence.to_edu(), "one") == Presence((PresenceUpdate(ALICE, "online", 1),))


@pytest.mark.parametrize(
    "edu",
    [
        5, {}, {"edu_type": "m.typing"}, {"edu_type": 5, "content": {}}, {"edu_type": "m.typing", "content": []},
        content("m.typing", room_id="x", user_id=ALICE, typing=True),
        content("m.typing", room_id=ROOM, user_id=ALICE, typing="yes"),
        content("m.presence"), content("m.presence", push={}),
        content("m.device_list_update", user_id=ALICE, device_id="D"),
        content("m.device_list_update", user_id=ALICE, device_id="D", stream_id="1"),
        content("m.device_list_update", user_id=ALICE, device_id="D", stream_id=1, prev_id=["x"]),
        content("m.device_list_update", user_id=ALICE, device_id="D", stream_id=1, keys=[]),
        content("m.signing_key_update", user_id=ALICE, master_key="x"),
        content("m.direct_to_device", sender=ALICE, type="t", message_id=5, messages={}),
        content("m.direct_to_device", sender=ALICE, type="t", message_id="x" * 256, messages={}),
        content("m.direct_to_device", sender=ALICE, type="t", message_id="x", messages=[]),
        content("m.direct_to_device", sender=ALICE, type="t", message_id="x", messages={"@a:b": {"D": "x"}}),
    ],
)  # fmt: skip
def test_malformed(edu: object) -> None:
    with pytest.raises(EduError):
        parse_edu(edu, "one")


def test_malformed_receipts_and_presence_are_left_out() -> None:
    good = {"event_ids": ["$a"], "data": {"ts": 1}}
    bad = [
        5, {}, {"event_ids": [], "data": {"ts": 1}}, {"event_ids": ["$a", "$b"], "data": {"ts": 1}},
        {"event_ids": ["x"], "data": {"ts": 1}}, {"event_ids": ["$a"], "data": {}},
        {"event_ids": ["$a"], "data": {"ts": 1, "thread_id": 5}},
    ]  # fmt: skip
    readers = {ALICE: good} | {f"@u{number}:one": receipt for number, receipt in enumerate(bad)}
    source = content("m.receipt", **{ROOM: {"m.read": readers}, "bad": {"m.read": {ALICE: good}}, "!x:y": 5})
    assert parse_edu(source, "one") == Receipts((Receipt(ROOM, ALICE, "$a", 1),))
    push = [
        5,
        {},
        {"user_id": ALICE, "presence": "x"},
        {"user_id": ALICE, "presence": "online", "last_active_ago": "x"},
    ]
    assert parse_edu(content("m.presence", push=push), "one") == Presence((PresenceUpdate(ALICE, "online"),))


KEYS = ["user_id", "room_id", "typing", "push", "device_id", "stream_id", "prev_id", "sender", "messages", ROOM, "keys"]
TYPES = ["m.typing", "m.receipt", "m.presence", "m.device_list_update", "m.signing_key_update", "m.direct_to_device"]


@given(st.sampled_from(TYPES), objects_with(*KEYS, values=any_values | st.just(ALICE)))
def test_only_edu_errors(edu_type: str, given_content: dict[str, Any]) -> None:
    try:
        parse_edu({"edu_type": edu_type, "content": given_content}, "one")
    except EduError:
        return
