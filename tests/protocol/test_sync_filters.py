from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from protocol.json_strategies import any_values, objects_with

from homeserver.protocol.errors import MatrixError
from homeserver.protocol.sync_filters import EventFilter, Filter, apply_event_fields

ROOM = "!room:one"


def test_empty_filter_accepts_everything() -> None:
    parsed = Filter.parse({})
    assert parsed == Filter()
    assert (parsed.event_fields, parsed.event_format, parsed.room.include_leave) == (None, "client", False)
    assert parsed.allows_room(ROOM)
    assert parsed.room.timeline.accepts("m.room.message", "@a:b", ROOM, {})
    assert parsed.room.timeline.accepts_every_event


def test_everything_is_read() -> None:
    parsed = Filter.parse({
        "event_fields": ["type", "content.body"], "event_format": "federation",
        "presence": {"types": ["m.presence"], "senders": ["@a:b"], "limit": 5},
        "account_data": {"not_types": ["m.direct"], "not_senders": ["@a:b"]},
        "room": {
            "rooms": [ROOM], "not_rooms": ["!other:one"], "include_leave": True,
            "state": {"lazy_load_members": True, "include_redundant_members": True},
            "timeline": {"limit": 10, "contains_url": True, "unread_thread_notifications": True,
                         "related_by_senders": ["@a:b"], "related_by_rel_types": ["m.thread"]},
            "ephemeral": {"not_types": ["*"]}, "account_data": {"rooms": [], "not_rooms": [ROOM]},
        },
        "unheard_of": 5,
    })  # fmt: skip
    assert parsed.event_fields == ("type", "content.body")
    assert parsed.event_format == "federation"
    assert parsed.presence.limit == 5
    assert parsed.presence.accepts("m.presence", "@a:b")
    assert not parsed.presence.accepts("m.presence", "@c:d")
    assert not parsed.account_data.accepts("m.direct", None)
    assert parsed.account_data.accepts("m.tag", None)
    assert parsed.room.include_leave
    assert parsed.allows_room(ROOM)
    assert not parsed.allows_room("!third:one")
    assert parsed.room.state.lazy_load_members
    assert parsed.room.state.include_redundant_members
    timeline = parsed.room.timeline
    assert (timeline.limit, timeline.contains_url, timeline.unread_thread_notifications) == (10, True, True)
    assert timeline.related_by_senders == {"@a:b"}
    assert timeline.related_by_rel_types == {"m.thread"}
    assert not parsed.room.ephemeral.accepts("m.typing", None)
    assert not parsed.room.account_data.accepts("m.tag", None, "!x:y")


@pytest.mark.parametrize(
    ("source", "event_type", "accepted"),
    [
        ({"types": ["m.room.message"]}, "m.room.message", True),
        ({"types": ["m.room.message"]}, "m.room.topic", False),
        ({"types": []}, "m.room.topic", False),
        ({"types": ["m.room.*"]}, "m.room.topic", True),
        ({"types": ["*.topic"]}, "m.room.topic", True),
        ({"types": ["m.*.top*"]}, "m.room.topic", True),
        ({"types": ["m.*.tip*"]}, "m.room.topic", False),
        ({"types": ["m.room.topi?"]}, "m.room.topic", False),
        ({"types": ["M.ROOM.TOPIC"]}, "m.room.topic", False),
        ({"types": ["m.*"], "not_types": ["m.room.topic"]}, "m.room.topic", False),
        ({"not_types": []}, "m.room.topic", True),
        ({"not_types": ["*"]}, "m.room.topic", False),
        ({"types": None}, "m.room.topic", True),
    ],
)
def test_types(source: dict[str, Any], event_type: str, accepted: bool) -> None:
    assert EventFilter.parse(source).accepts(event_type, "@a:b") is accepted


def test_senders_rooms_and_urls() -> None:
    assert EventFilter.parse({"senders": ["@a:b"]}).accepts("t", "@a:b")
    assert not EventFilter.parse({"senders": ["@a:b"]}).accepts("t", "@c:d")
    assert not EventFilter.parse({"senders": ["@a:b"]}).accepts("t", None)
    assert not EventFilter.parse({"senders": ["@a:b"], "not_senders": ["@a:b"]}).accepts("t", "@a:b")
    assert not EventFilter.parse({"rooms": [ROOM], "not_rooms": [ROOM]}).accepts_room(ROOM)
    assert not EventFilter.parse({"rooms": []}).accepts("t", "@a:b", ROOM)
    with_url, without_url = EventFilter.parse({"contains_url": True}), EventFilter.parse({"contains_url": False})
    assert with_url.accepts("t", "@a:b", ROOM, {"url": "mxc://x/y"})
    assert not with_url.accepts("t", "@a:b", ROOM, {})
    assert not without_url.accepts("t", "@a:b", ROOM, {"url": "mxc://x/y"})
    assert without_url.accepts("t", "@a:b", ROOM)


@pytest.mark.parametrize(
    "source",
    [
        [], 5, None, {"event_format": "xml"}, {"event_format": []}, {"event_fields": "type"}, {"event_fields": [5]},
        {"presence": 5}, {"room": []}, {"room": {"timeline": 5}}, {"room": {"rooms": "x"}}, {"room": {"rooms": ["x"]}},
        {"room": {"include_leave": "yes"}}, {"room": {"timeline": {"limit": "5"}}},
        {"room": {"timeline": {"limit": -1}}},
        {"room": {"timeline": {"limit": True}}}, {"room": {"timeline": {"limit": 1.5}}},
        {"presence": {"senders": ["x"]}},
        {"room": {"state": {"lazy_load_members": 1}}}, {"room": {"timeline": {"contains_url": "x"}}},
        {"presence": {"types": [None]}}, {"account_data": {"not_senders": [[]]}},
    ],
)  # fmt: skip
def test_malformed(source: object) -> None:
    with pytest.raises(MatrixError) as caught:
        Filter.parse(source)
    assert (caught.value.errcode, caught.value.status) == ("M_BAD_JSON", 400)


def test_event_fields() -> None:
    event = {"type": "t", "content": {"body": "x", "a.b": {"c": 1}, "d": {"e": 2, "f": 3}}, "sender": "@a:b"}
    assert apply_event_fields(event, ["type", "content.body"]) == {"type": "t", "content": {"body": "x"}}
    assert apply_event_fields(event, [r"content.a\.b.c"]) == {"content": {"a.b": {"c": 1}}}
    assert apply_event_fields(event, ["content.d.e", "content.d.f"]) == {"content": {"d": {"e": 2, "f": 3}}}
    assert apply_event_fields(event, ["content.absent", "absent.x", "type.x"]) == {}
    assert apply_event_fields(event, []) == {}
    assert apply_event_fields(event, ["content", "content.body"]) == {"content": event["content"]}
    assert apply_event_fields(event, ["content.body", "content"])["content"] is event["content"]
    assert event["content"] == {"body": "x", "a.b": {"c": 1}, "d": {"e": 2, "f": 3}}


def test_hostile_wildcards_take_no_time() -> None:
    hostile = EventFilter.parse({"types": ["*a" * 15 + "b"]})
    started = time.perf_counter()
    assert not hostile.accepts("a" * 5_000, None)
    assert time.perf_counter() - started < 1


KEYS = ["event_fields", "event_format", "presence", "account_data", "room"]
FILTER_KEYS = ["limit", "types", "not_senders", "rooms", "contains_url", "lazy_load_members", "state", "timeline"]


@given(objects_with(*KEYS, values=any_values | objects_with(*FILTER_KEYS)))
def test_only_bad_json(source: dict[str, Any]) -> None:
    try:
        parsed = Filter.parse(source)
    except MatrixError:
        return
    assert isinstance(parsed.room.timeline.accepts("m.x", "@a:b", ROOM, {}), bool)


@given(any_values)
def test_any_fields(value: Any) -> None:
    apply_event_fields({"content": value}, ["content.a", "content", "content.a.b", ""])
