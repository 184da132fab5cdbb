"""Evaluating push rules: a ruleset is compiled once per user, an event is opened once for all users of its room.

Spec: client-server-api #push-rules
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from homeserver.protocol.events import Event
from homeserver.protocol.push_rules.conditions import (
    Condition,
    EventProperties,
    PushContext,
    compile_condition,
    compile_content_rule,
    compile_property_equals,
)
from homeserver.protocol.push_rules.ruleset import RULE_KINDS, Ruleset

__all__ = ["CompiledRuleset", "EventProperties", "PushContext", "PushOutcome", "compile_ruleset"]


class PushOutcome(NamedTuple):
    """What to do about an event for one user. `actions` are those of the rule that matched, historical ones gone."""

    notify: bool
    highlight: bool
    actions: list[Any]


@dataclass(frozen=True, slots=True)
class _CompiledRule:
    conditions: tuple[Condition, ...]
    outcome: PushOutcome


NOTHING: Final = PushOutcome(False, False, [])


class CompiledRuleset:
    """A user's enabled rules in the order in which they are checked."""

    __slots__ = ("_rules",)

    def __init__(self, rules: Iterable[_CompiledRule]) -> None:
        self._rules = [(rule.conditions, rule.outcome) for rule in rules]

    def evaluate(self, event: Event | EventProperties, context: PushContext) -> PushOutcome:
        """The outcome of the first rule that matches; nothing for the user's own events, or when no rule matches.

        Handing in the same EventProperties for every user of a room saves looking into the event again.
        """
        properties = event if isinstance(event, EventProperties) else EventProperties(event)
        if properties.event.sender == context.user_id:
            return NOTHING
        for conditions, outcome in self._rules:
            for condition in conditions:
                if not condition(properties, context):
                    break
            else:
                return outcome
        return NOTHING


def compile_ruleset(ruleset: Ruleset) -> CompiledRuleset:
    """Rules that are disabled, malformed, or have unknown conditions never match."""
    return CompiledRuleset(
        compiled
        for kind in RULE_KINDS
        for rule in _list(ruleset.get(kind))
        if (compiled := _compile_rule(kind, rule)) is not None
    )


def _compile_rule(kind: str, rule: object) -> _CompiledRule | None:
    if not isinstance(rule, dict) or rule.get("enabled", True) is not True:
        return None
    conditions = _conditions_of(kind, rule)
    if conditions is None:
        return None
    return _CompiledRule(conditions, _outcome_of(_list(rule.get("actions"))))


def _conditions_of(kind: str, rule: Mapping[str, Any]) -> tuple[Condition, ...] | None:
    if kind == "content":
        pattern = rule.get("pattern")
        return (compile_content_rule(pattern),) if isinstance(pattern, str) else None
    if kind in {"room", "sender"}:
        rule_id = rule.get("rule_id")
        path = "room_id" if kind == "room" else "sender"
        return (compile_property_equals(path, rule_id),) if isinstance(rule_id, str) else None
    compiled = [compile_condition(condition) for condition in _list(rule.get("conditions"))]
    known = tuple(condition for condition in compiled if condition is not None)
    return known if len(known) == len(compiled) else None


def _outcome_of(actions: list[Any]) -> PushOutcome:
    kept = [action for action in actions if action == "notify" or _tweak_of(action) is not None]
    notify = "notify" in kept
    highlight = any(_tweak_of(action) == "highlight" and action.get("value", True) is True for action in kept)
    return PushOutcome(notify, notify and highlight, kept)


def _tweak_of(action: object) -> str | None:
    tweak = action.get("set_tweak") if isinstance(action, dict) else None
    return tweak if isinstance(tweak, str) else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
