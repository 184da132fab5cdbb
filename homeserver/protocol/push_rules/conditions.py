"""The conditions of push rules, each compiled to a function of the event and of the user it might notify.

Spec: client-server-api #conditions
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from homeserver.protocol.events import Event
from homeserver.protocol.globs import glob_of, literal_of
from homeserver.protocol.power_levels import PowerLevels
from homeserver.protocol.property_paths import ABSENT, parse_property_path, property_at

_BODY: Final = "content.body"
_MEMBER_COUNT: Final = re.compile(r"(==|<=|>=|<|>)?([0-9]{1,18})", re.ASCII)
_COMPARISONS: Final[Mapping[str, Callable[[int, int], bool]]] = {
    "==": operator.eq,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


@dataclass(frozen=True, slots=True)
class PushContext:
    """What besides the event decides on a notification: the user, their name in the room, and the room."""

    user_id: str
    display_name: str | None
    member_count: int
    power_levels: PowerLevels


class EventProperties:
    """An event as conditions look at it: properties by path, and strings in lower case, each looked up once."""

    __slots__ = ("_lowered", "_top_level", "_values", "event")

    def __init__(self, event: Event) -> None:
        self.event = event
        self._values: dict[str, Any] = {}
        self._lowered: dict[str, str | None] = {}
        self._top_level: dict[str, Any] | None = None

    def value(self, path: str) -> Any:
        """The property at a path, ABSENT when there is none."""
        try:
            return self._values[path]
        except KeyError:
            found = property_at(parse_property_path(path), self._event_as_dict())
            self._values[path] = found
            return found

    def lowered(self, path: str) -> str | None:
        """The property in lower case; None when it is not a string."""
        try:
            return self._lowered[path]
        except KeyError:
            value = self.value(path)
            lowered = value.lower() if isinstance(value, str) else None
            self._lowered[path] = lowered
            return lowered

    def _event_as_dict(self) -> dict[str, Any]:
        if self._top_level is None:
            self._top_level = {
                **self.event.pdu,
                "event_id": self.event.event_id,
                "room_id": self.event.room_id,
            }
        return self._top_level


Condition: TypeAlias = Callable[[EventProperties, PushContext], bool]


def compile_condition(condition: object) -> Condition | None:
    """The condition as a function; None when it is unknown or malformed, and so matches nothing."""
    kind = condition.get("kind") if isinstance(condition, dict) else None
    compiler = _COMPILERS.get(kind) if isinstance(kind, str) else None
    return None if compiler is None or not isinstance(condition, dict) else compiler(condition)


def compile_content_rule(pattern: str) -> Condition:
    """The implied condition of a content rule."""
    return _body_matches(pattern)


def compile_property_equals(path: str, value: str) -> Condition:
    """The implied condition of a room or sender rule."""
    return lambda event, _: event.value(path) == value


def _event_match(condition: Mapping[str, Any]) -> Condition | None:
    key, pattern = condition.get("key"), condition.get("pattern")
    if not isinstance(key, str) or not isinstance(pattern, str):
        return None
    if key == _BODY:
        return _body_matches(pattern)
    if "*" not in pattern and "?" not in pattern:
        literal = pattern.lower()
        return lambda event, _: event.lowered(key) == literal
    glob = glob_of(pattern)

    def matches(event: EventProperties, _: PushContext) -> bool:
        value = event.lowered(key)
        return value is not None and glob.matches_whole(value)

    return matches


def _body_matches(pattern: str) -> Condition:
    glob = glob_of(pattern)

    def matches(event: EventProperties, _: PushContext) -> bool:
        body = event.lowered(_BODY)
        return body is not None and glob.matches_words_in(body)

    return matches


def _event_property_is(condition: Mapping[str, Any]) -> Condition | None:
    key, value = condition.get("key"), condition.get("value", ABSENT)
    if not isinstance(key, str) or not _is_simple(value):
        return None
    return lambda event, _: _same(event.value(key), value)


def _event_property_contains(condition: Mapping[str, Any]) -> Condition | None:
    key, value = condition.get("key"), condition.get("value", ABSENT)
    if not isinstance(key, str) or not _is_simple(value):
        return None

    def contains(event: EventProperties, _: PushContext) -> bool:
        values = event.value(key)
        return isinstance(values, list) and any(_same(entry, value) for entry in values)

    return contains


def _contains_display_name(_: Mapping[str, Any]) -> Condition:
    def contains(event: EventProperties, context: PushContext) -> bool:
        body = event.lowered(_BODY)
        return bool(body and context.display_name) and literal_of(context.display_name or "").matches_words_in(
            body or ""
        )

    return contains


def _room_member_count(condition: Mapping[str, Any]) -> Condition | None:
    comparison = condition.get("is")
    match = _MEMBER_COUNT.fullmatch(comparison) if isinstance(comparison, str) else None
    if match is None:
        return None
    compare, number = _COMPARISONS[match[1] or "=="], int(match[2])
    return lambda _, context: compare(context.member_count, number)


def _sender_notification_permission(condition: Mapping[str, Any]) -> Condition | None:
    key = condition.get("key")
    if not isinstance(key, str):
        return None

    def is_permitted(event: EventProperties, context: PushContext) -> bool:
        return context.power_levels.of_user(event.event.sender) >= context.power_levels.notifications(key)

    return is_permitted


def _is_simple(value: object) -> bool:
    return value is None or isinstance(value, str | int)


def _same(actual: object, expected: object) -> bool:
    """Equal without any casting: neither is 1 true, nor 1.0 one."""
    return type(actual) is type(expected) and actual == expected


_COMPILERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Condition | None]]] = {
    "event_match": _event_match,
    "event_property_is": _event_property_is,
    "event_property_contains": _event_property_contains,
    "contains_display_name": _contains_display_name,
    "room_member_count": _room_member_count,
    "sender_notification_permission": _sender_notification_permission,
}
