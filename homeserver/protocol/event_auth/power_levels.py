"""The rules for m.room.power_levels: nobody grants more than they have, nor takes from their equals.

Spec: rooms/v12 #authorisation-rules, rule 10
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeserver.protocol.event_auth.auth_state import AuthState
from homeserver.protocol.events import Event
from homeserver.protocol.identifiers import is_user_id
from homeserver.protocol.power_levels import DEFAULT_LEVELS, parse_level
from homeserver.protocol.refusal import Refusal
from homeserver.protocol.room_versions import AuthRules


def check_power_levels(event: Event, room: AuthState) -> Refusal | None:
    refusal = _check_shape(event.content, room.rules)
    if refusal is not None:
        return refusal
    # 10.4
    for creator in room.power.creators:
        if creator in event.content.get("users", ()):
            return Refusal("power_levels.creator", f"The power of the room's creator {creator} cannot be limited.")
    # 10.5
    previous = room.state.get(("m.room.power_levels", ""))
    if previous is None:
        return None
    return _check_changes(event, previous.content, room)


def _check_shape(content: Mapping[str, Any], rules: AuthRules) -> Refusal | None:
    if rules.integer_power_levels_required:
        # 10.1
        for name in DEFAULT_LEVELS:
            if name in content and type(content[name]) is not int:
                return _malformed(f"The power level {name} is not an integer.")
        # 10.2
        for name in ("events", "notifications"):
            if name in content and not _is_object_of_levels(content[name], rules):
                return _malformed(f"The power levels of {name} are not an object of integers.")
    # 10.3
    users = content.get("users", {})
    if not _is_object_of_levels(users, rules):
        return _malformed("The power levels of users are not an object of integers.")
    if not all(is_user_id(user_id) for user_id in users):
        return _malformed("The power levels are given to something that is not a user ID.")
    return None


def _is_object_of_levels(value: object, rules: AuthRules) -> bool:
    return isinstance(value, dict) and all(parse_level(level, rules) is not None for level in value.values())


def _check_changes(event: Event, old: Mapping[str, Any], room: AuthState) -> Refusal | None:
    new = event.content
    sender_level = room.power.of_user(event.sender)
    # 10.6
    for name in DEFAULT_LEVELS:
        refusal = _check_change(old, new, name, sender_level, room.rules)
        if refusal is not None:
            return refusal
    # 10.7, 10.8
    for name in ("events", "notifications") if room.rules.notification_levels_checked else ("events",):
        new_levels = new.get(name, {})
        if not isinstance(new_levels, dict):
            return _malformed(f"The power levels of {name} are not an object.")
        old_levels = _object(old.get(name))
        for key in {**old_levels, **new_levels}:
            refusal = _check_change(old_levels, new_levels, key, sender_level, room.rules)
            if refusal is not None:
                return refusal
    # 10.9, 10.10
    old_users, new_users = _object(old.get("users")), _object(new.get("users"))
    for user_id in {**old_users, **new_users}:
        refusal = _check_change(
            old_users, new_users, user_id, sender_level, room.rules, must_exceed=user_id != event.sender
        )
        if refusal is not None:
            return refusal
    return None


def _check_change(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    key: str,
    sender_level: float,
    rules: AuthRules,
    *,
    must_exceed: bool = False,
) -> Refusal | None:
    """Judge one entry; `must_exceed` when the sender needs more than the current value, not just as much."""
    if old.get(key) == new.get(key) and (key in old) == (key in new) and type(old.get(key)) is type(new.get(key)):
        return None
    old_level = parse_level(old[key], rules) if key in old else None
    new_level = parse_level(new[key], rules) if key in new else None
    if key in new and new_level is None:
        return _malformed(f"The power level of {key} is not a number.")
    if old_level == new_level:
        return None
    if old_level is not None and (old_level > sender_level or (must_exceed and old_level == sender_level)):
        return Refusal("power_levels.current", f"The power level of {key} is too high for the sender to change it.")
    if new_level is not None and new_level > sender_level:
        return Refusal("power_levels.new", f"The new power level of {key} is higher than the sender's own.")
    return None


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _malformed(reason: str) -> Refusal:
    return Refusal("power_levels.malformed", reason)
