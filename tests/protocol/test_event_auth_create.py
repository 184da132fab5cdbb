from __future__ import annotations

from typing import Any

import pytest
from protocol.room_builder import ALICE, RoomBuilder

from homeserver.protocol.event_auth import authorise
from homeserver.protocol.events import Event
from homeserver.protocol.room_versions import ROOM_VERSIONS


def refusal(version: str, content: dict[str, Any], *, room_id: str | None = None, **changes: Any) -> str | None:
    room = RoomBuilder(version)
    if room_id is not None:
        room.room_id = room_id
    event = room.make("m.room.create", ALICE, content, "")
    refused = authorise(Event({**event.pdu, **changes}, room.version, event.event_id), {})
    return None if refused is None else refused.rule


@pytest.mark.parametrize("version", ROOM_VERSIONS)
def test_rule_1(version: str) -> None:
    good = {"creator": ALICE, "room_version": version}
    assert refusal(version, good) is None
    prev = [["$a:one", {}]] if version in {"1", "2"} else ["$a"]
    assert refusal(version, good, prev_events=prev) == "create.prev_events"
    assert refusal(version, {**good, "room_version": "unheard-of"}) == "create.room_version"
    assert refusal(version, {**good, "room_version": 1}) == "create.room_version"
    assert refusal(version, {"creator": ALICE}) is None


@pytest.mark.parametrize("version", ROOM_VERSIONS)
def test_room_id(version: str) -> None:
    good = {"creator": ALICE}
    if version == "12":
        assert refusal(version, good, room_id="!x:one") == "create.room_id"
    else:
        assert refusal(version, good, room_id="!x:two") == "create.domain"


@pytest.mark.parametrize("version", ROOM_VERSIONS)
def test_creator(version: str) -> None:
    assert refusal(version, {}) == (None if version in {"11", "12"} else "create.creator")


@pytest.mark.parametrize("additional", ["@a:b", [5], ["nobody"], {}, None, ["@a:b", "@" + "a" * 300 + ":b"]])
def test_additional_creators(additional: object) -> None:
    content = {"creator": ALICE, "additional_creators": additional}
    assert refusal("12", content) == "create.additional_creators"
    assert refusal("11", content) is None
    assert refusal("12", {"additional_creators": ["@a:b"]}) is None
