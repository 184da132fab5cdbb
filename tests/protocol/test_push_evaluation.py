"""Evaluating push rules for events."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from protocol.json_strategies import any_values, objects_with
from protocol.room_builder import ALICE, BOB, CAROL, new_room

from homeserver.protocol.events import Event
from homeserver.protocol.power_levels import PowerLevels
from homeserver.protocol.property_paths import parse_property_path
from homeserver.protocol.push_rules import (
    EventProperties,
    PushContext,
    PushOutcome,
    add_rule,
    compile_ruleset,
    default_ruleset,
    set_enabled,
)

ROOM = new_room("11")
ROOM.member(BOB, "join")
DEFAULTS = default_ruleset(ALICE)
SOUND = {"set_tweak": "sound", "value": "default"}
HIGHLIGHT = {"set_tweak": "highlight"}


def context(members: int = 3, name: str | None = "Alice", levels: dict[str, Any] | None = None) -> PushContext:
    return PushContext(ALICE, name, members, PowerLevels(levels or {}, ROOM.version))


def event(event_type: str, content: dict[str, Any], state_key: str | None = None, sender: str = BOB) -> Event:
    return ROOM.make(event_type, sender, content, state_key)


def outcome(made: Event, ruleset: Any = DEFAULTS, **given_context: Any) -> PushOutcome:
    return compile_ruleset(ruleset).evaluate(made, context(**given_context))


def message(body: Any = "hello", **content: Any) -> Event:
    return event("m.room.message", {"body": body, "msgtype": "m.text", **content})


class TestDefaultRules:
    def test_messages(self) -> None:
        assert outcome(message()) == PushOutcome(True, False, ["notify"])
        assert outcome(message(), members=2) == PushOutcome(True, False, ["notify", SOUND])
        assert outcome(event("m.room.encrypted", {})) == PushOutcome(True, False, ["notify"])
        assert outcome(event("m.room.encrypted", {}), members=2) == PushOutcome(True, False, ["notify", SOUND])
        assert outcome(event("m.call.invite", {})).actions == ["notify", {"set_tweak": "sound", "value": "ring"}]

    def test_what_does_not_notify(self) -> None:
        silent = PushOutcome(False, False, [])
        assert outcome(event("m.room.message", {"body": "x", "msgtype": "m.notice"})) == silent
        assert outcome(event("m.room.message", {"body": "x"}, sender=ALICE)) == silent
        assert outcome(event("m.room.topic", {"topic": "x"}, "")) == silent
        assert outcome(event("m.room.member", {"membership": "join"}, CAROL)) == silent
        assert outcome(event("m.reaction", {})) == silent
        assert outcome(event("m.room.server_acl", {}, "")) == silent
        assert outcome(message(**{"m.relates_to": {"rel_type": "m.replace", "event_id": "$x"}})) == silent
        assert outcome(event("org.example", {})) == silent

    def test_invite_for_me(self) -> None:
        invite = {"membership": "invite"}
        assert outcome(event("m.room.member", invite, ALICE)) == PushOutcome(True, False, ["notify", SOUND])
        assert not outcome(event("m.room.member", invite, CAROL)).notify

    def test_user_mention(self) -> None:
        mention = PushOutcome(True, True, ["notify", SOUND, HIGHLIGHT])
        assert outcome(message(**{"m.mentions": {"user_ids": [CAROL, ALICE]}})) == mention
        assert not outcome(message(**{"m.mentions": {"user_ids": [CAROL]}})).highlight
        assert not outcome(message(**{"m.mentions": {"user_ids": ALICE}})).highlight
        assert not outcome(message("Alice")).highlight

    def test_room_mention_needs_power(self) -> None:
        mention = message(**{"m.mentions": {"room": True}})
        assert not outcome(mention).highlight
        assert outcome(mention, levels={"users": {BOB: 50}}) == PushOutcome(True, True, ["notify", HIGHLIGHT])
        assert outcome(mention, levels={"notifications": {"room": 0}}).highlight
        assert not outcome(message(**{"m.mentions": {"room": 1}}), levels={"users": {BOB: 50}}).highlight

    def test_tombstone_is_a_state_event(self) -> None:
        assert outcome(event("m.room.tombstone", {}, "")).highlight
        assert not outcome(event("m.room.tombstone", {})).notify
        assert not outcome(event("m.room.tombstone", {}, "x")).notify

    def test_master_switch(self) -> None:
        off = set_enabled(DEFAULTS, "override", ".m.rule.master", True)
        assert not outcome(message(**{"m.mentions": {"user_ids": [ALICE]}}), off).notify


def matches(condition: dict[str, Any], made: Event, **given_context: Any) -> bool:
    ruleset = {"override": [{"rule_id": "x", "enabled": True, "conditions": [condition], "actions": ["notify"]}]}
    return outcome(made, ruleset, **given_context).notify


class TestConditions:
    @pytest.mark.parametrize(
        ("key", "pattern", "expected"),
        [
            ("type", "m.room.message", True), ("type", "M.ROOM.*", True), ("type", "m.room", False),
            ("sender", BOB, True), ("room_id", "!room:one", True), ("event_id", "$*", True),
            ("content.msgtype", "m.?ext", True), ("content.body", "HELLO", True), ("content.body", "ello", False),
            ("content.body", "w*d", True), ("content.absent", "*", False), ("content.number", "*", False),
            ("content", "*", False), ("state_key", "*", False), ("content.m\\.dotted.key", "value", True),
            ("content.m.dotted.key", "*", False), ("", "*", False),
        ],
    )  # fmt: skip
    def test_event_match(self, key: str, pattern: str, expected: bool) -> None:
        made = message("Hello, world", number=5, **{"m.dotted": {"key": "Value"}})
        assert matches({"kind": "event_match", "key": key, "pattern": pattern}, made) is expected

    @pytest.mark.parametrize(
        ("value", "expected", "same"),
        [
            (True, True, True), (1, True, False), (True, 1, False), ("true", True, False), (None, None, True),
            ("x", "X", False), (5, 5, True), ([], [], False), ({}, {}, False), (0, False, False),
        ],
    )  # fmt: skip
    def test_event_property_is_and_contains(self, value: Any, expected: Any, same: bool) -> None:
        made = message(value=value, values=[{}, value])
        assert matches({"kind": "event_property_is", "key": "content.value", "value": expected}, made) is same
        assert matches({"kind": "event_property_contains", "key": "content.values", "value": expected}, made) is same
        assert not matches({"kind": "event_property_contains", "key": "content.value", "value": expected}, made)
        assert not matches({"kind": "event_property_is", "key": "content.absent", "value": expected}, made)

    def test_display_name(self) -> None:
        condition = {"kind": "contains_display_name"}
        assert matches(condition, message("hey ALICE!"))
        assert not matches(condition, message("malice"))
        assert matches(condition, message("dear A. *?"), name="A. *?")
        assert not matches(condition, message("dear Axx"), name="A*")
        for name in (None, ""):
            assert not matches(condition, message(), name=name)
        assert not matches(condition, message(5))

    @pytest.mark.parametrize(
        ("comparison", "counts"),
        [
            ("2", {2}), ("==2", {2}), ("<2", {1}), ("<=2", {1, 2}), (">2", {3}), (">=2", {2, 3}), ("=2", set()),
            ("", set()), ("<", set()), (" 2", set()), (2, set()), (None, set()), ("٢", set()),
        ],
    )  # fmt: skip
    def test_member_count(self, comparison: Any, counts: set[int]) -> None:
        condition = {"kind": "room_member_count", "is": comparison}
        assert {count for count in (1, 2, 3) if matches(condition, message(), members=count)} == counts

    def test_sender_notification_permission(self) -> None:
        condition = {"kind": "sender_notification_permission", "key": "room"}
        assert not matches(condition, message(), levels={"users": {BOB: 49}})
        assert matches(condition, message(), levels={"users": {BOB: 50}})

    @pytest.mark.parametrize("condition", [{}, {"kind": "unheard_of"}, {"kind": []}, 5, None, {"kind": "event_match"}])
    def test_unknown_conditions_never_match(self, condition: Any) -> None:
        assert not matches(condition, message())


class TestKinds:
    def test_content(self) -> None:
        rules = add_rule(DEFAULTS, "content", "x", {"pattern": "cake", "actions": ["notify", HIGHLIGHT]})
        assert outcome(message("the CAKE is a lie"), rules).highlight
        assert not outcome(message("cakes"), rules).highlight
        assert not outcome(event("m.room.message", {}), rules).highlight

    def test_room_and_sender(self) -> None:
        assert not outcome(message(), add_rule(DEFAULTS, "room", "!room:one", {"actions": []})).notify
        assert outcome(message(), add_rule(DEFAULTS, "room", "!other:one", {"actions": []})).notify
        assert not outcome(message(), add_rule(DEFAULTS, "sender", BOB, {"actions": []})).notify
        assert outcome(message(), add_rule(DEFAULTS, "sender", CAROL, {"actions": []})).notify

    def test_order_of_kinds(self) -> None:
        rules = add_rule(DEFAULTS, "sender", BOB, {"actions": []})
        rules = add_rule(rules, "content", "x", {"pattern": "hello", "actions": ["notify"]})
        assert outcome(message(), rules).notify
        rules = add_rule(rules, "override", "x", {"actions": []})
        assert not outcome(message(), rules).notify

    def test_disabled_rules_never_match(self) -> None:
        rules = add_rule(DEFAULTS, "sender", BOB, {"actions": []})
        assert outcome(message(), set_enabled(rules, "sender", BOB, False)).notify


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        (["notify", {"set_tweak": "highlight", "value": True}], (True, True)),
        (["notify", {"set_tweak": "highlight", "value": False}], (True, False)),
        (["notify", {"set_tweak": "highlight"}], (True, True)),
        (["dont_notify"], (False, False)),
        (["coalesce", "notify", 5], (True, False)),
        ([{"set_tweak": "highlight"}], (False, False)),
    ],
)  # fmt: skip
def test_actions(actions: list[Any], expected: tuple[bool, bool]) -> None:
    ruleset = {"underride": [{"rule_id": "x", "enabled": True, "conditions": [], "actions": actions}]}
    found = outcome(message(), ruleset)
    assert (found.notify, found.highlight) == expected
    assert not {"dont_notify", "coalesce"} & {action for action in found.actions if isinstance(action, str)}


def test_an_opened_event_can_be_shared() -> None:
    opened = EventProperties(message("Hello"))
    compiled = compile_ruleset(DEFAULTS)
    assert compiled.evaluate(opened, context()) == compiled.evaluate(opened, context()) == outcome(message())
    assert not compiled.evaluate(opened, PushContext(BOB, None, 2, PowerLevels({}, ROOM.version))).notify


def test_property_paths() -> None:
    assert parse_property_path("content.body") == ("content", "body")
    assert parse_property_path(r"content.m\.relates_to") == ("content", "m.relates_to")
    assert parse_property_path(r"content.m\\foo") == ("content", r"m\foo")
    assert parse_property_path(r"a\x.b\\.c") == ("a\\x", "b\\", "c")
    assert parse_property_path("a..b") == ("a", "", "b")
    assert parse_property_path("") == ("",)
    assert parse_property_path("a\\") == ("a\\",)


@given(objects_with("rule_id", "enabled", "conditions", "actions", "pattern", "kind"), any_values)
def test_malformed_rules_never_crash(rule: dict[str, Any], condition: Any) -> None:
    for kind in ("override", "content", "room", "sender"):
        for changed in (rule, {**rule, "conditions": [condition]}, {**rule, "actions": condition}):
            assert isinstance(outcome(message(), {kind: [changed]}), PushOutcome)
    assert isinstance(outcome(message(), {"override": condition}), PushOutcome)


@given(objects_with("body", "m.mentions", "m.relates_to", "msgtype", "membership"))
def test_any_content(content: dict[str, Any]) -> None:
    if any(isinstance(value, float) for value in content.values()):
        return
    template = event("m.room.message", {})
    made = Event({**template.pdu, "content": content}, ROOM.version, template.event_id)
    assert isinstance(outcome(made), PushOutcome)
