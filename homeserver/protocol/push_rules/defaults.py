"""The predefined rules every user starts with, exactly as the specification lists them.

Spec: client-server-api #predefined-rules
"""

from __future__ import annotations

from typing import Any

from homeserver.protocol.push_rules.ruleset import RULE_KINDS, Rule, Ruleset

_HIGHLIGHT = {"set_tweak": "highlight"}
_EMPTY_STATE_KEY = {"kind": "event_match", "key": "state_key", "pattern": ""}


def default_ruleset(user_id: str) -> Ruleset:
    """A new ruleset with the server-default rules only."""
    return {
        "override": _override_rules(user_id),
        "content": [],
        "room": [],
        "sender": [],
        "underride": _underride_rules(),
    }


def with_current_defaults(ruleset: Ruleset, user_id: str) -> Ruleset:
    """A stored ruleset brought up to date: today's predefined rules, the user's own rules and settings kept."""
    current = default_ruleset(user_id)
    updated: Ruleset = {}
    for kind in RULE_KINDS:
        stored = ruleset.get(kind, [])
        settings = {rule["rule_id"]: rule for rule in stored if rule.get("default")}
        defaults = [_with_settings_of(rule, settings.get(rule["rule_id"])) for rule in current[kind]]
        own = [rule for rule in stored if not rule.get("default")]
        first = 1 if kind == "override" else 0
        updated[kind] = [*defaults[:first], *own, *defaults[first:]]
    return updated


def _with_settings_of(rule: Rule, stored: Rule | None) -> Rule:
    if stored is None:
        return rule
    return {**rule, "enabled": stored["enabled"], "actions": stored["actions"]}


def _override_rules(user_id: str) -> list[Rule]:
    return [
        _rule(".m.rule.master", [], [], enabled=False),
        _rule(".m.rule.suppress_notices", [_event_match("content.msgtype", "m.notice")], []),
        _rule(
            ".m.rule.invite_for_me",
            [
                _event_match("type", "m.room.member"),
                _event_match("content.membership", "invite"),
                _event_match("state_key", user_id),
            ],
            ["notify", _sound("default")],
        ),
        _rule(".m.rule.member_event", [_event_match("type", "m.room.member")], []),
        _rule(
            ".m.rule.is_user_mention",
            [{"kind": "event_property_contains", "key": "content.m\\.mentions.user_ids", "value": user_id}],
            ["notify", _sound("default"), _HIGHLIGHT],
        ),
        _rule(
            ".m.rule.is_room_mention",
            [
                {"kind": "event_property_is", "key": "content.m\\.mentions.room", "value": True},
                {"kind": "sender_notification_permission", "key": "room"},
            ],
            ["notify", _HIGHLIGHT],
        ),
        _rule(
            ".m.rule.tombstone", [_event_match("type", "m.room.tombstone"), _EMPTY_STATE_KEY], ["notify", _HIGHLIGHT]
        ),
        _rule(".m.rule.reaction", [_event_match("type", "m.reaction")], []),
        _rule(".m.rule.room.server_acl", [_event_match("type", "m.room.server_acl"), _EMPTY_STATE_KEY], []),
        _rule(
            ".m.rule.suppress_edits",
            [{"kind": "event_property_is", "key": "content.m\\.relates_to.rel_type", "value": "m.replace"}],
            [],
        ),
    ]


def _underride_rules() -> list[Rule]:
    two_members = {"kind": "room_member_count", "is": "2"}
    return [
        _rule(".m.rule.call", [_event_match("type", "m.call.invite")], ["notify", _sound("ring")]),
        _rule(
            ".m.rule.encrypted_room_one_to_one",
            [two_members, _event_match("type", "m.room.encrypted")],
            ["notify", _sound("default")],
        ),
        _rule(
            ".m.rule.room_one_to_one",
            [two_members, _event_match("type", "m.room.message")],
            ["notify", _sound("default")],
        ),
        _rule(".m.rule.message", [_event_match("type", "m.room.message")], ["notify"]),
        _rule(".m.rule.encrypted", [_event_match("type", "m.room.encrypted")], ["notify"]),
    ]


def _rule(rule_id: str, conditions: list[dict[str, Any]], actions: list[Any], *, enabled: bool = True) -> Rule:
    return {"rule_id": rule_id, "default": True, "enabled": enabled, "conditions": conditions, "actions": actions}


def _event_match(key: str, pattern: str) -> dict[str, Any]:
    return {"kind": "event_match", "key": key, "pattern": pattern}


def _sound(name: str) -> dict[str, Any]:
    return {"set_tweak": "sound", "value": name}
