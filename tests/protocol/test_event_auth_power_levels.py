from __future__ import annotations

from typing import Any

import pytest
from protocol.room_builder import ALICE, BOB, CAROL, RoomBuilder, new_room

from homeserver.protocol.room_versions import ROOM_VERSIONS

ALL = list(ROOM_VERSIONS)
MALFORMED = "power_levels.malformed"
CURRENT = "power_levels.current"
NEW = "power_levels.new"


def creator(version: str) -> dict[str, Any]:
    """The entry of `users` that rooms without infinite power need for their creator."""
    return {} if version == "12" else {ALICE: 100}


def powered_room(version: str, **content: Any) -> RoomBuilder:
    """Bob and Carol have 50, which is what power levels need."""
    room = new_room(version)
    for user in (BOB, CAROL):
        room.member(user, "join")
    room.power(ALICE, {**creator(version), BOB: 50, CAROL: 50}, **content)
    return room


def refusal(room: RoomBuilder, users: dict[str, Any], sender: str = BOB, **content: Any) -> str | None:
    everybody = {**creator(room.version.identifier), BOB: 50, CAROL: 50, **users}
    given = {user: level for user, level in everybody.items() if level is not None}
    return room.refusal("m.room.power_levels", sender, {"users": given, **content}, "")


@pytest.mark.parametrize("version", ALL)
class TestChanges:
    def test_unchanged(self, version: str) -> None:
        assert refusal(powered_room(version), {}) is None

    @pytest.mark.parametrize(
        "name", ["users_default", "events_default", "state_default", "ban", "redact", "kick", "invite"]
    )
    def test_scalars(self, version: str, name: str) -> None:
        room = powered_room(version)
        assert refusal(room, {}, **{name: 50}) is None
        assert refusal(room, {}, **{name: 51}) == NEW
        room = powered_room(version, **{name: 50})
        assert refusal(room, {}, **{name: 0}) is None
        assert refusal(room, {}) is None
        room = (
            powered_room(version, **{name: 51})
            if name != "state_default"
            else powered_room(version, state_default=51, events={"m.room.power_levels": 50})
        )
        events = room.state["m.room.power_levels", ""].content.get("events", {})
        assert refusal(room, {}, events=events, **{name: 51}) is None
        assert refusal(room, {}, events=events, **{name: 50}) == CURRENT
        assert refusal(room, {}, events=events) == CURRENT

    def test_events(self, version: str) -> None:
        room = powered_room(version, events={"m.low": 10, "m.high": 60})
        assert refusal(room, {}, events={"m.low": 50, "m.high": 60, "m.new": 50}) is None
        assert refusal(room, {}, events={"m.high": 60}) is None
        assert refusal(room, {}, events={"m.low": 51, "m.high": 60}) == NEW
        assert refusal(room, {}, events={"m.low": 10, "m.high": 60, "m.new": 51}) == NEW
        assert refusal(room, {}, events={"m.low": 10, "m.high": 50}) == CURRENT
        assert refusal(room, {}, events={"m.low": 10}) == CURRENT

    def test_notifications(self, version: str) -> None:
        room = powered_room(version, notifications={"room": 60})
        is_checked = int(version) >= 6
        assert refusal(room, {}, notifications={"room": 10}) == (CURRENT if is_checked else None)
        assert refusal(room, {}) == (CURRENT if is_checked else None)
        assert refusal(room, {}, notifications={"room": 60, "x": 51}) == (NEW if is_checked else None)

    def test_users(self, version: str) -> None:
        room = powered_room(version)
        assert refusal(room, {"@new:one": 50}) is None
        assert refusal(room, {"@new:one": 51}) == NEW
        assert refusal(room, {CAROL: 40}) == CURRENT
        assert refusal(room, {CAROL: None}) == CURRENT
        assert refusal(room, {BOB: 40}) is None
        assert refusal(room, {BOB: None}) is None
        assert refusal(room, {BOB: 51}) == NEW
        if version != "12":
            assert refusal(room, {ALICE: 0}) == CURRENT
        assert refusal(room, {BOB: 0, CAROL: 100}, sender=ALICE) is None

    def test_users_must_be_user_ids_with_levels(self, version: str) -> None:
        room = powered_room(version)
        for users in ({"nobody": 0}, {"@new:one": None}, {"@new:one": "many"}, {"@new:one": True}, {"@new:one": []}):
            content = {**creator(version), BOB: 50, CAROL: 50, **users}
            assert room.refusal("m.room.power_levels", BOB, {"users": content}, "") == MALFORMED
        for whole in ([], None, "x", 5):
            assert room.refusal("m.room.power_levels", ALICE, {"users": whole}, "") == MALFORMED

    def test_first_power_levels(self, version: str) -> None:
        room = RoomBuilder(version)
        room.send("m.room.create", ALICE, {"creator": ALICE}, "")
        room.member(ALICE, "join")
        users = {} if version == "12" else {ALICE: 10**6}
        assert room.refusal("m.room.power_levels", ALICE, {"users": users, "ban": 10**6}, "") is None

    def test_strings(self, version: str) -> None:
        room = powered_room(version)
        expected = None if int(version) < 10 else MALFORMED
        assert refusal(room, {"@new:one": " +0050 "}) == expected
        assert refusal(room, {}, ban="50") == expected
        assert refusal(room, {}, events={"m.new": "50"}) == expected
        if int(version) < 10:
            assert refusal(room, {CAROL: "50"}) is None
            assert refusal(room, {"@new:one": "51"}) == NEW

    def test_malformed_levels(self, version: str) -> None:
        room = powered_room(version)
        for value in ("many", None, True, [], {}):
            assert refusal(room, {}, ban=value) == MALFORMED
            assert refusal(room, {}, events={"m.new": value}) == MALFORMED
        assert refusal(room, {}, events=[]) == MALFORMED
        if int(version) >= 10:
            assert refusal(room, {}, notifications=[]) == MALFORMED
            assert refusal(room, {}, notifications={"room": "x"}) == MALFORMED

    def test_message_event_of_the_same_type_changes_nothing(self, version: str) -> None:
        assert powered_room(version).refusal("m.room.power_levels", BOB, {"users": "x"}) is None


def test_creators_may_not_be_listed() -> None:
    room = new_room("12", additional_creators=[CAROL])
    for user in (ALICE, CAROL):
        assert room.refusal("m.room.power_levels", ALICE, {"users": {user: 100}}, "") == "power_levels.creator"
    assert room.refusal("m.room.power_levels", ALICE, {"users": {BOB: 2**53 - 1}, "ban": 2**53 - 1}, "") is None


def test_floats_in_old_rooms() -> None:
    assert refusal(powered_room("5"), {"@new:one": 50.9}) is None
    assert refusal(powered_room("5"), {"@new:one": 51.1}) == NEW
