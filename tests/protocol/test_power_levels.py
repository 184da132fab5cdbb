from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol.json_strategies import any_values, objects_with
from protocol.room_builder import ALICE, BOB, CAROL, RoomBuilder, new_room

from homeserver.protocol.power_levels import PowerLevels, creator_of, creators_of, parse_level
from homeserver.protocol.room_versions import ROOM_VERSIONS, V1, V6, V10, V11, V12, RoomVersion


@pytest.mark.parametrize(
    ("value", "v1", "v6", "v10"),
    [
        (50, 50, 50, 50),
        ("50", 50, 50, None),
        (" +0050 ", 50, 50, None),
        ("-5", -5, -5, None),
        ("\t100\n", 100, 100, None),
        (51146.98, 51146, None, None),
        (-0.9, 0, None, None),
        (math.inf, None, None, None),
        (math.nan, None, None, None),
        (True, None, None, None),
        (None, None, None, None),
        ("", None, None, None),
        ("1.5", None, None, None),
        ("1_000", None, None, None),
        ("+-1", None, None, None),
        ("١", None, None, None),
        ("9" * 5000, None, None, None),
        ([], None, None, None),
    ],
)
def test_parse_level(value: object, v1: int | None, v6: int | None, v10: int | None) -> None:
    assert [parse_level(value, version.auth) for version in (V1, V6, V10)] == [v1, v6, v10]


def test_defaults_without_power_levels() -> None:
    room = RoomBuilder("10")
    room.send("m.room.create", ALICE, {"creator": ALICE}, "")
    power = PowerLevels.of(room.state, room.version)
    assert (power.of_user(ALICE), power.of_user(BOB)) == (100, 0)
    assert (power.invite, power.kick, power.ban, power.redact) == (0, 50, 50, 50)
    assert (power.state_default, power.events_default, power.users_default) == (50, 0, 0)
    assert (power.to_send("m.room.topic", True), power.to_send("m.room.message", False)) == (50, 0)
    assert power.notifications("room") == 50


def test_given_levels() -> None:
    content = {
        "users": {BOB: 30, CAROL: "40"}, "users_default": 5, "events": {"m.room.name": 20, "m.odd": "x"}, "kick": 60,
        "state_default": 70, "events_default": 10, "notifications": {"room": 25}, "invite": 1, "ban": 2, "redact": 3,
    }  # fmt: skip
    power = PowerLevels(content, V6, founder=ALICE)
    assert (power.of_user(ALICE), power.of_user(BOB), power.of_user(CAROL)) == (5, 30, 40)
    assert (power.to_send("m.room.name", True), power.to_send("x", True), power.to_send("x", False)) == (20, 70, 10)
    assert power.to_send("m.odd", False) == 10
    assert (power.kick, power.invite, power.ban, power.redact) == (60, 1, 2, 3)
    assert (power.notifications("room"), power.notifications("other")) == (25, 50)
    assert power.may_send(BOB, "m.room.name", True)
    assert not power.may_send(ALICE, "m.room.name", True)


def test_creators_by_version() -> None:
    for version, creator, infinite in [("10", BOB, set()), ("11", ALICE, set()), ("12", ALICE, {ALICE, CAROL})]:
        room = RoomBuilder(version)
        create = room.make("m.room.create", ALICE, {"creator": BOB, "additional_creators": [CAROL]}, "")
        assert creator_of(create) == creator
        assert creators_of(create) == infinite


def test_creators_outrank_everybody() -> None:
    room = new_room("12", additional_creators=[CAROL])
    room.member(BOB, "join")
    room.power(ALICE, {BOB: 2**53 - 1})
    power = PowerLevels.of(room.state, room.version)
    assert power.of_user(ALICE) == power.of_user(CAROL) == math.inf > power.of_user(BOB)
    without_create = {key: event for key, event in room.state.items() if key[0] != "m.room.create"}
    assert PowerLevels.of(without_create, room.version, room.create).of_user(CAROL) == math.inf


@given(
    st.sampled_from([V1, V6, V11, V12]),
    objects_with("users", "events", "notifications", "ban", "users_default", "state_default", values=any_values),
)
def test_never_crashes(version: RoomVersion, content: dict[str, Any]) -> None:
    power = PowerLevels(content, version, creators=frozenset({ALICE}))
    assert isinstance(power.of_user(BOB), int)
    assert isinstance(power.to_send("m", True), int)
    assert isinstance(power.notifications("room"), int)
    assert isinstance(power.ban, int)


def test_every_version_knows_its_founder() -> None:
    for version in ROOM_VERSIONS:
        room = RoomBuilder(version)
        room.send("m.room.create", ALICE, {"creator": ALICE}, "")
        assert PowerLevels.of(room.state, room.version).of_user(ALICE) == (math.inf if version == "12" else 100)
