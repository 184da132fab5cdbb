"""Changing rulesets, and the predefined rules."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol.json_strategies import any_values, objects_with

from homeserver.protocol.errors import MatrixError
from homeserver.protocol.push_rules import (
    RULE_KINDS,
    Ruleset,
    add_rule,
    default_ruleset,
    delete_rule,
    get_rule,
    set_actions,
    set_enabled,
    with_current_defaults,
)

USER = "@alice:one"


def ids(ruleset: Ruleset, kind: str) -> list[str]:
    return [rule["rule_id"] for rule in ruleset[kind]]


def own_ids(ruleset: Ruleset, kind: str) -> list[str]:
    return [rule["rule_id"] for rule in ruleset[kind] if not rule["default"]]


def error_of(action: Callable[[], object]) -> tuple[str, int]:
    with pytest.raises(MatrixError) as caught:
        action()
    return caught.value.errcode, caught.value.status


def test_predefined_rules_in_order() -> None:
    ruleset = default_ruleset(USER)
    assert list(ruleset) == ["override", "content", "room", "sender", "underride"] == list(RULE_KINDS)
    assert ids(ruleset, "override") == [
        ".m.rule.master", ".m.rule.suppress_notices", ".m.rule.invite_for_me", ".m.rule.member_event",
        ".m.rule.is_user_mention", ".m.rule.is_room_mention", ".m.rule.tombstone", ".m.rule.reaction",
        ".m.rule.room.server_acl", ".m.rule.suppress_edits",
    ]  # fmt: skip
    assert ids(ruleset, "underride") == [
        ".m.rule.call", ".m.rule.encrypted_room_one_to_one", ".m.rule.room_one_to_one", ".m.rule.message",
        ".m.rule.encrypted",
    ]  # fmt: skip
    assert not ruleset["content"] + ruleset["room"] + ruleset["sender"]
    rules = ruleset["override"] + ruleset["underride"]
    assert all(rule["default"] for rule in rules)
    assert [rule["rule_id"] for rule in rules if not rule["enabled"]] == [".m.rule.master"]


def test_predefined_rules_to_the_letter() -> None:
    ruleset = default_ruleset(USER)
    assert get_rule(ruleset, "override", ".m.rule.is_user_mention") == json.loads(r"""{
        "rule_id": ".m.rule.is_user_mention", "default": true, "enabled": true,
        "conditions": [{"kind": "event_property_contains", "key": "content.m\\.mentions.user_ids",
                        "value": "@alice:one"}],
        "actions": ["notify", {"set_tweak": "sound", "value": "default"}, {"set_tweak": "highlight"}]}""")
    assert get_rule(ruleset, "override", ".m.rule.is_room_mention") == json.loads(r"""{
        "rule_id": ".m.rule.is_room_mention", "default": true, "enabled": true,
        "conditions": [{"kind": "event_property_is", "key": "content.m\\.mentions.room", "value": true},
                       {"kind": "sender_notification_permission", "key": "room"}],
        "actions": ["notify", {"set_tweak": "highlight"}]}""")
    assert get_rule(ruleset, "override", ".m.rule.invite_for_me")["conditions"][2] == {
        "kind": "event_match", "key": "state_key", "pattern": USER,
    }  # fmt: skip
    assert get_rule(ruleset, "underride", ".m.rule.call")["actions"] == [
        "notify",
        {"set_tweak": "sound", "value": "ring"},
    ]
    assert get_rule(ruleset, "underride", ".m.rule.message")["actions"] == ["notify"]


def test_rulesets_of_users_are_apart() -> None:
    one = default_ruleset(USER)
    one["override"][0]["actions"].append("notify")
    assert default_ruleset(USER)["override"][0]["actions"] == []


def with_rules(kind: str, *rule_ids: str) -> Ruleset:
    ruleset = default_ruleset(USER)
    for rule_id in reversed(rule_ids):
        ruleset = add_rule(ruleset, kind, rule_id, {"actions": ["notify"], "pattern": "x"})
    return ruleset


@pytest.mark.parametrize("kind", RULE_KINDS)
class TestAdding:
    body: ClassVar = {"actions": ["notify"], "pattern": "cake*lie"}

    def test_new_rules_go_first_and_are_enabled(self, kind: str) -> None:
        ruleset = with_rules(kind, "a", "b", "c")
        assert own_ids(ruleset, kind) == ["a", "b", "c"]
        assert ids(ruleset, "override")[0] == ".m.rule.master"
        rule = get_rule(ruleset, kind, "a")
        assert (rule["enabled"], rule["default"], rule["actions"]) == (True, False, ["notify"])
        assert rule.get("pattern") == ("x" if kind == "content" else None)
        assert ("conditions" in rule) is (kind in {"override", "underride"})

    def test_before_and_after(self, kind: str) -> None:
        ruleset = with_rules(kind, "a", "b", "c")
        assert own_ids(add_rule(ruleset, kind, "x", self.body, before="b"), kind) == ["a", "x", "b", "c"]
        assert own_ids(add_rule(ruleset, kind, "x", self.body, after="b"), kind) == ["a", "b", "x", "c"]
        assert own_ids(add_rule(ruleset, kind, "x", self.body, before="a", after="c"), kind) == ["x", "a", "b", "c"]
        assert own_ids(add_rule(ruleset, kind, "c", self.body, before="a"), kind) == ["c", "a", "b"]
        assert own_ids(add_rule(ruleset, kind, "a", self.body, after="c"), kind) == ["b", "c", "a"]

    def test_updating_keeps_place_and_whether_enabled(self, kind: str) -> None:
        ruleset = set_enabled(with_rules(kind, "a", "b"), kind, "b", False)
        updated = add_rule(ruleset, kind, "b", {"actions": [], "pattern": "y"})
        assert own_ids(updated, kind) == ["a", "b"]
        assert get_rule(updated, kind, "b")["actions"] == []
        assert get_rule(updated, kind, "b")["enabled"] is False

    def test_neighbours_must_be_the_users_own(self, kind: str) -> None:
        ruleset = default_ruleset(USER)
        for neighbour in ("nobody", ".m.rule.master", ".m.rule.message"):
            assert error_of(lambda n=neighbour: add_rule(ruleset, kind, "x", self.body, before=n)) == ("M_UNKNOWN", 400)
            assert error_of(lambda n=neighbour: add_rule(ruleset, kind, "x", self.body, after=n)) == ("M_UNKNOWN", 400)

    def test_rule_ids(self, kind: str) -> None:
        for rule_id in (".mine", ".m.rule.master", "a/b", "a\\b", ""):
            assert error_of(lambda r=rule_id: add_rule(default_ruleset(USER), kind, r, self.body)) == (
                "M_INVALID_PARAM", 400,
            )  # fmt: skip

    def test_argument_is_left_alone(self, kind: str) -> None:
        ruleset = default_ruleset(USER)
        add_rule(ruleset, kind, "x", self.body)
        assert ruleset == default_ruleset(USER)


def test_bodies() -> None:
    ruleset = default_ruleset(USER)
    assert error_of(lambda: add_rule(ruleset, "room", "!a:b", {})) == ("M_MISSING_PARAM", 400)
    assert error_of(lambda: add_rule(ruleset, "content", "x", {"actions": []})) == ("M_MISSING_PARAM", 400)
    assert error_of(lambda: add_rule(ruleset, "override", "x", {"actions": [], "conditions": {}}))[0] == "M_BAD_JSON"
    assert error_of(lambda: add_rule(ruleset, "override", "x", {"actions": [], "conditions": [{}]}))[0] == "M_BAD_JSON"
    for actions in ("notify", [5], ["explode"], [{}], [{"set_tweak": 5}]):
        assert error_of(lambda a=actions: add_rule(ruleset, "room", "x", {"actions": a}))[0] == "M_INVALID_PARAM"
    assert error_of(lambda: add_rule(ruleset, "unknown", "x", {"actions": []}))[0] == "M_INVALID_PARAM"


def test_historical_actions_are_stripped() -> None:
    ruleset = add_rule(default_ruleset(USER), "room", "!a:b", {"actions": ["dont_notify", "coalesce"]})
    assert get_rule(ruleset, "room", "!a:b")["actions"] == []


def test_deleting() -> None:
    ruleset = with_rules("sender", "@a:b", "@c:d")
    assert own_ids(delete_rule(ruleset, "sender", "@a:b"), "sender") == ["@c:d"]
    assert error_of(lambda: delete_rule(ruleset, "sender", "@x:y")) == ("M_NOT_FOUND", 404)
    assert error_of(lambda: delete_rule(ruleset, "room", "@a:b")) == ("M_NOT_FOUND", 404)
    assert error_of(lambda: delete_rule(ruleset, "override", ".m.rule.master")) == ("M_NOT_FOUND", 404)


def test_enabling_and_actions() -> None:
    ruleset = set_enabled(default_ruleset(USER), "override", ".m.rule.master", True)
    assert get_rule(ruleset, "override", ".m.rule.master")["enabled"] is True
    ruleset = set_actions(ruleset, "underride", ".m.rule.message", ["dont_notify"])
    assert get_rule(ruleset, "underride", ".m.rule.message")["actions"] == []
    for enabled in (None, "true", 1):
        assert (
            error_of(lambda e=enabled: set_enabled(ruleset, "underride", ".m.rule.message", e))[0] == "M_INVALID_PARAM"
        )
    assert error_of(lambda: set_enabled(ruleset, "underride", "x", True)) == ("M_NOT_FOUND", 404)
    assert error_of(lambda: set_actions(ruleset, "underride", "x", [])) == ("M_NOT_FOUND", 404)
    assert error_of(lambda: get_rule(ruleset, "underride", "x")) == ("M_NOT_FOUND", 404)


def test_bringing_a_stored_ruleset_up_to_date() -> None:
    stored = with_rules("override", "mine")
    stored = set_enabled(stored, "override", ".m.rule.suppress_notices", False)
    stored = set_actions(stored, "underride", ".m.rule.message", [])
    outdated: dict[str, Any] = {"rule_id": ".m.rule.gone", "default": True, "enabled": True, "actions": []}
    stored["override"] = [rule for rule in stored["override"] if rule["rule_id"] != ".m.rule.reaction"] + [outdated]
    current = with_current_defaults(stored, USER)
    assert ids(current, "override")[:3] == [".m.rule.master", "mine", ".m.rule.suppress_notices"]
    assert ".m.rule.reaction" in ids(current, "override")
    assert ".m.rule.gone" not in ids(current, "override")
    assert get_rule(current, "override", ".m.rule.suppress_notices")["enabled"] is False
    assert get_rule(current, "underride", ".m.rule.message")["actions"] == []
    assert with_current_defaults(current, USER) == current


@given(st.sampled_from(RULE_KINDS), st.text(max_size=5), objects_with("actions", "conditions", "pattern"))
def test_only_documented_errors(kind: str, rule_id: str, body: dict[str, Any]) -> None:
    try:
        ruleset = add_rule(default_ruleset(USER), kind, rule_id, body)
    except MatrixError:
        return
    assert get_rule(ruleset, kind, rule_id)["rule_id"] == rule_id


@given(any_values)
def test_any_actions(actions: Any) -> None:
    try:
        ruleset = set_actions(default_ruleset(USER), "override", ".m.rule.master", actions)
    except MatrixError:
        return
    assert isinstance(get_rule(ruleset, "override", ".m.rule.master")["actions"], list)
