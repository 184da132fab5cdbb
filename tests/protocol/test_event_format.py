from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol.json_strategies import any_values
from protocol.room_builder import ALICE, RoomBuilder, new_room

from homeserver.protocol.errors import MatrixError
from homeserver.protocol.event_format import check_client_event_size, check_event_format
from homeserver.protocol.events import Event
from homeserver.protocol.room_versions import ROOM_VERSIONS, get_room_version


def refused(room: RoomBuilder, pdu: dict[str, Any]) -> str | None:
    refusal = check_event_format(pdu, room.version)
    return None if refusal is None else refusal.rule


@pytest.mark.parametrize("version", ROOM_VERSIONS)
def test_our_own_events_pass(version: str) -> None:
    room = new_room(version)
    room.send("m.room.message", ALICE, {"body": "x"})
    assert [refused(room, event.pdu) for event in room.events.values()] == [None] * 5


@pytest.mark.parametrize("version", ROOM_VERSIONS)
def test_required_fields(version: str) -> None:
    room = new_room(version)
    pdu = room.send("m.room.message", ALICE, {"body": "x"}).pdu
    for field in pdu:
        without = {key: value for key, value in pdu.items() if key != field}
        assert refused(room, without) == "format.malformed", field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("type", 5), ("sender", "alice"), ("sender", None), ("content", []), ("content", None), ("state_key", None),
        ("state_key", 1), ("unsigned", []), ("origin_server_ts", "1"), ("origin_server_ts", True), ("depth", -1),
        ("depth", 1.0), ("depth", "1"), ("hashes", None), ("signatures", []), ("prev_events", {}),
        ("auth_events", None),
        ("prev_events", [5]), ("auth_events", ["x"]), ("room_id", "x"), ("room_id", None),
    ],
)  # fmt: skip
def test_types(field: str, value: object) -> None:
    for version in ROOM_VERSIONS:
        room = new_room(version)
        assert refused(room, {**room.make("m.room.message", ALICE, {}).pdu, field: value}) == "format.malformed"


def test_references_by_version() -> None:
    old, new = new_room("2"), new_room("3")
    pair = ["$a:b", {"sha256": "x"}]
    assert refused(old, {**old.make("m", ALICE, {}).pdu, "prev_events": [pair, ["$a:b", {}]]}) is None
    assert refused(old, {**old.make("m", ALICE, {}).pdu, "prev_events": ["$a:b"]}) == "format.malformed"
    assert refused(old, {**old.make("m", ALICE, {}).pdu, "prev_events": [["$a:b"]]}) == "format.malformed"
    assert refused(new, {**new.make("m", ALICE, {}).pdu, "prev_events": [pair]}) == "format.malformed"


def test_number_of_references() -> None:
    room = new_room()
    pdu = room.make("m", ALICE, {}).pdu
    assert refused(room, {**pdu, "prev_events": ["$a"] * 20, "auth_events": ["$a"] * 10}) is None
    assert refused(room, {**pdu, "prev_events": ["$a"] * 21}) == "format.too_many_references"
    assert refused(room, {**pdu, "auth_events": ["$a"] * 11}) == "format.too_many_references"


def test_depth_by_version() -> None:
    old, new = new_room("5"), new_room("6")
    assert refused(old, {**old.make("m", ALICE, {}).pdu, "depth": 2**63 - 1}) is None
    assert refused(old, {**old.make("m", ALICE, {}).pdu, "depth": 2**63}) == "format.malformed"
    assert refused(new, {**new.make("m", ALICE, {}).pdu, "depth": 0}) is None
    assert refused(new, {**new.make("m", ALICE, {}).pdu, "depth": 2**53 - 1}) is None
    assert refused(new, {**new.make("m", ALICE, {}).pdu, "depth": 2**53}) == "format.malformed"


@pytest.mark.parametrize("value", [1.5, 2**53, {"deep": [2**60]}])
def test_canonical_json_by_version(value: object) -> None:
    for version in ROOM_VERSIONS:
        room = new_room(version)
        pdu = {**room.make("m", ALICE, {}).pdu, "content": {"value": value}}
        assert refused(room, pdu) == (None if int(version) < 6 else "format.canonical_json")


def test_sizes() -> None:
    room = new_room()
    pdu = room.make("m", ALICE, {}).pdu
    assert refused(room, {**pdu, "type": "é" * 127}) is None
    for field in ("type", "state_key"):
        assert refused(room, {**pdu, field: "é" * 128}) == "format.field_too_long"
    event = room.make("m", ALICE, {"body": "x" * 64_000})
    check_client_event_size(event)
    assert refused(room, event.pdu) is None
    event = room.make("m", ALICE, {"body": "x" * 65_536})
    assert refused(room, event.pdu) == "format.too_large"
    for too_large in (event, room.make("é" * 128, ALICE, {})):
        with pytest.raises(MatrixError) as caught:
            check_client_event_size(too_large)
        assert (caught.value.errcode, caught.value.status) == ("M_TOO_LARGE", 413)


def test_create_event_of_version_12_names_no_room() -> None:
    room = new_room("12")
    assert room.create is not None
    assert refused(room, room.create.pdu) is None
    assert refused(room, {**room.create.pdu, "state_key": "x"}) == "format.malformed"
    assert refused(new_room("11"), room.create.pdu) == "format.malformed"


@given(
    st.sampled_from(sorted(ROOM_VERSIONS)),
    st.dictionaries(
        st.sampled_from(
            ["type", "sender", "content", "state_key", "depth", "room_id", "prev_events", "auth_events", "event_id",
             "origin_server_ts", "hashes", "signatures", "unsigned", "redacts", "other"]
        ),
        any_values,
        max_size=4,
    ),
)  # fmt: skip
def test_what_passes_can_be_an_event_and_nothing_crashes(version: str, changes: dict[str, Any]) -> None:
    pdu = {**PDUS[version], **changes}
    room_version = get_room_version(version)
    if check_event_format(pdu, room_version) is None:
        event = Event(pdu, room_version)
        assert event.redacted() == event


PDUS = {version: new_room(version).make("m.room.member", ALICE, {}, ALICE).pdu for version in ROOM_VERSIONS}
