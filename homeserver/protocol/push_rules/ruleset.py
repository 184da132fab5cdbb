"""Changing a user's push rules. A ruleset is plain JSON; every change returns a new one.

Spec: client-server-api #push-rules-api
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from homeserver.protocol.errors import MatrixError, bad_json, invalid_param, missing_param, not_found, unknown

Rule: TypeAlias = dict[str, Any]
Ruleset: TypeAlias = dict[str, list[Rule]]

RULE_KINDS: Final = ("override", "content", "room", "sender", "underride")
_MASTER: Final = ".m.rule.master"
_HISTORICAL_ACTIONS: Final = frozenset({"dont_notify", "coalesce"})


def get_rule(ruleset: Ruleset, kind: str, rule_id: str) -> Rule:
    """The rule; M_NOT_FOUND without one, M_INVALID_PARAM when there is no such kind."""
    index = _index_of(ruleset, kind, rule_id)
    return ruleset[kind][index]


def add_rule(
    ruleset: Ruleset,
    kind: str,
    rule_id: str,
    body: Mapping[str, Any],
    *,
    before: str | None = None,
    after: str | None = None,
) -> Ruleset:
    """Create or update one of the user's own rules.

    A new rule becomes the most important one of its kind unless `before` or `after` names its neighbour; an existing
    one keeps its place and whether it is enabled. Raises M_INVALID_PARAM, M_MISSING_PARAM, M_BAD_JSON, and M_UNKNOWN
    when the neighbour is not one of the user's rules.
    """
    _check_kind(kind)
    _check_new_rule_id(rule_id)
    rule = _rule_from(kind, rule_id, body)
    rules = list(ruleset.get(kind, []))
    index = _find(rules, rule_id)
    if index is not None:
        rule["enabled"] = rules[index]["enabled"]
        if before is None and after is None:
            rules[index] = rule
            return {**ruleset, kind: rules}
        del rules[index]
    rules.insert(_place_for(rules, before, after), rule)
    return {**ruleset, kind: rules}


def delete_rule(ruleset: Ruleset, kind: str, rule_id: str) -> Ruleset:
    """Without the rule; M_NOT_FOUND when the user has no such rule of their own."""
    index = _index_of(ruleset, kind, rule_id)
    rules = ruleset[kind]
    if rules[index].get("default"):
        raise not_found("Predefined push rules cannot be deleted.")
    return {**ruleset, kind: [*rules[:index], *rules[index + 1 :]]}


def set_enabled(ruleset: Ruleset, kind: str, rule_id: str, enabled: object) -> Ruleset:
    if not isinstance(enabled, bool):
        raise invalid_param("Whether a push rule is enabled is true or false.")
    return _with_changes(ruleset, kind, rule_id, {"enabled": enabled})


def set_actions(ruleset: Ruleset, kind: str, rule_id: str, actions: object) -> Ruleset:
    return _with_changes(ruleset, kind, rule_id, {"actions": check_actions(actions)})


def check_actions(actions: object) -> list[Any]:
    """The actions without the historical ones, which do nothing; raises M_INVALID_PARAM for what is no action."""
    if not isinstance(actions, list):
        raise invalid_param("The actions of a push rule are a list.")
    for action in actions:
        is_tweak = isinstance(action, dict) and isinstance(action.get("set_tweak"), str)
        if action != "notify" and not is_tweak and not _is_historical(action):
            raise invalid_param("The push rule has an unknown action.")
    return [action for action in actions if not _is_historical(action)]


def _rule_from(kind: str, rule_id: str, body: Mapping[str, Any]) -> Rule:
    if "actions" not in body:
        raise missing_param("The push rule has no actions.")
    rule: Rule = {"rule_id": rule_id, "default": False, "enabled": True, "actions": check_actions(body["actions"])}
    if kind == "content":
        pattern = body.get("pattern")
        if not isinstance(pattern, str):
            raise missing_param("A content rule needs a pattern.")
        rule["pattern"] = pattern
    if kind in {"override", "underride"}:
        rule["conditions"] = _check_conditions(body.get("conditions", []))
    return rule


def _check_conditions(conditions: object) -> list[Any]:
    if not isinstance(conditions, list):
        raise bad_json("The conditions of a push rule are a list.")
    for condition in conditions:
        if not isinstance(condition, dict) or not isinstance(condition.get("kind"), str):
            raise bad_json("A condition of a push rule is an object with a kind.")
    return conditions


def _place_for(rules: list[Rule], before: str | None, after: str | None) -> int:
    neighbour = before if before is not None else after
    if neighbour is None:
        return 1 if rules and rules[0]["rule_id"] == _MASTER else 0
    index = _find(rules, neighbour)
    if index is None or rules[index].get("default"):
        raise unknown(f"before/after rule not found: {neighbour}")
    return index if before is not None else index + 1


def _with_changes(ruleset: Ruleset, kind: str, rule_id: str, changes: Mapping[str, Any]) -> Ruleset:
    index = _index_of(ruleset, kind, rule_id)
    rules = list(ruleset[kind])
    rules[index] = {**rules[index], **changes}
    return {**ruleset, kind: rules}


def _index_of(ruleset: Ruleset, kind: str, rule_id: str) -> int:
    _check_kind(kind)
    index = _find(ruleset.get(kind, []), rule_id)
    if index is None:
        raise not_found("The push rule was not found.")
    return index


def _find(rules: list[Rule], rule_id: str) -> int | None:
    return next((index for index, rule in enumerate(rules) if rule["rule_id"] == rule_id), None)


def _check_kind(kind: str) -> None:
    if kind not in RULE_KINDS:
        raise invalid_param("There is no such kind of push rule.")


def _check_new_rule_id(rule_id: str) -> None:
    refusal: MatrixError | None = None
    if rule_id.startswith("."):
        refusal = invalid_param("Rule IDs that start with a dot are reserved for predefined rules.")
    elif rule_id == "" or "/" in rule_id or "\\" in rule_id:
        refusal = invalid_param("A rule ID has no slashes and no backslashes, and is not empty.")
    if refusal is not None:
        raise refusal


def _is_historical(action: object) -> bool:
    return isinstance(action, str) and action in _HISTORICAL_ACTIONS
