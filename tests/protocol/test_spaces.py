from __future__ import annotations

from typing import Any

import pytest
from protocol.room_builder import ALICE, new_room

from homeserver.protocol.spaces import children_of, is_space, is_valid_child, order_of, via_of

ROOM = new_room()


def order(*children: tuple[str, int, object]) -> list[str]:
    events = []
    for room_id, ts, given_order in children:
        content: dict[str, Any] = {"via": ["one"]} if given_order is None else {"via": ["one"], "order": given_order}
        events.append(ROOM.make("m.space.child", ALICE, content, room_id, ts=ts))
    return [event.state_key or "" for event in children_of(events)]


def test_example_of_the_specification() -> None:
    assert order(
        ("!a", 1640141000000, "aaaa"), ("!b", 1640341000000, " "), ("!c", 1640841000000, "first"),
        ("!d", 1640741000000, None), ("!e", 1640641000000, None),
    ) == ["!b", "!a", "!c", "!e", "!d"]  # fmt: skip


def test_ties_are_settled_by_time_then_room_id() -> None:
    assert order(("!a", 2, "x"), ("!b", 1, "x"), ("!d", 3, None), ("!c", 3, None)) == ["!b", "!a", "!c", "!d"]


@pytest.mark.parametrize("invalid", ["", "x" * 51, "é", "\n", 5, None, []])
def test_invalid_orders_count_as_none(invalid: object) -> None:
    assert order_of({"order": invalid}) is None
    assert order(("!a", 1, invalid), ("!b", 2, "~")) == ["!b", "!a"]


def test_limits_of_order() -> None:
    assert order_of({"order": "~" * 50}) == "~" * 50


def test_children_without_servers_are_removed() -> None:
    for content in ({}, {"via": []}, {"via": "one"}, {"via": [5]}, {"via": None}):
        assert not is_valid_child(content)
        assert via_of(content) == []
        assert children_of([ROOM.make("m.space.child", ALICE, content, "!a")]) == []
    assert is_valid_child({"via": ["one"]})
    assert children_of([ROOM.make("m.space.child", ALICE, {"via": ["one"]})]) == []
    assert children_of([ROOM.make("m.room.topic", ALICE, {"via": ["one"]}, "!a")]) == []


def test_is_space() -> None:
    assert is_space({"type": "m.space"})
    assert not is_space({"type": "m.other"})
    assert not is_space({})
