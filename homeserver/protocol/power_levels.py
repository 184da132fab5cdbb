"""Power levels: who may do what in a room, from its m.room.power_levels and m.room.create events.
Reads what old room versions allowed (strings, floats) and knows the creators' infinite power of new ones.

Spec: client-server-api #mroompower_levels, server-server-api #definitions
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.room_versions import AuthRules, RoomVersion

_INTEGER_IN_STRING = re.compile(r"\s*[+-]?[0-9]{1,4000}\s*", re.ASCII)

DEFAULT_LEVELS: Final[Mapping[str, int]] = {
    "ban": 50,
    "events_default": 0,
    "invite": 0,
    "kick": 50,
    "redact": 50,
    "state_default": 50,
    "users_default": 0,
}
_DEFAULT_NOTIFICATION_LEVEL: Final = 50


def parse_level(value: object, rules: AuthRules) -> int | None:
    """The level a JSON value stands for under the rules of a room version; None when it stands for none."""
    if type(value) is int:
        return value
    if isinstance(value, str) and rules.string_power_levels and _INTEGER_IN_STRING.fullmatch(value):
        return int(value)
    if isinstance(value, float) and rules.float_power_levels and math.isfinite(value):
        return int(value)
    return None


def creator_of(create: Event) -> str:
    """The one user that a room without power levels obeys: `creator` of the content, in later versions the sender."""
    if create.room_version.auth.creator_in_content:
        creator = create.content.get("creator")
        return creator if isinstance(creator, str) else ""
    return create.sender


def creators_of(create: Event) -> frozenset[str]:
    """Everybody with infinite power: empty in room versions that know no such users.

    Spec: rooms/v12 #authorisation-rules
    """
    if not create.room_version.auth.creators_have_infinite_power:
        return frozenset()
    additional = create.content.get("additional_creators")
    named = [user for user in additional if isinstance(user, str)] if isinstance(additional, list) else []
    return frozenset((create.sender, *named))


class PowerLevels:
    """The levels in force. Malformed values, which old rooms may contain, count as absent.

    Levels of users are ints, or `math.inf` for creators; levels that actions require are ints.
    """

    __slots__ = ("_events", "_founder", "_notifications", "_rules", "_users", "_users_default", "content", "creators")

    def __init__(
        self,
        content: Mapping[str, Any] | None,
        room_version: RoomVersion,
        *,
        creators: frozenset[str] = frozenset(),
        founder: str | None = None,
    ) -> None:
        """`content` of the m.room.power_levels event, None without one; then the `founder` has level 100."""
        self._rules = room_version.auth
        self.content: Mapping[str, Any] = {} if content is None else content
        self.creators = creators
        self._founder = founder if content is None and not creators else None
        self._users = _object(self.content.get("users"))
        self._events = _object(self.content.get("events"))
        self._notifications = _object(self.content.get("notifications"))
        self._users_default = self.level("users_default")

    @classmethod
    def of(cls, state: Mapping[StateKey, Event], room_version: RoomVersion, create: Event | None = None) -> PowerLevels:
        """The levels in a room state; `create` when the create event is not part of the map."""
        levels = state.get(("m.room.power_levels", ""))
        if create is None:
            create = state.get(("m.room.create", ""))
        return cls(
            None if levels is None else levels.content,
            room_version,
            creators=frozenset() if create is None else creators_of(create),
            founder=None if create is None else creator_of(create),
        )

    def of_user(self, user_id: str) -> float:
        if user_id in self.creators:
            return math.inf
        if user_id == self._founder:
            return 100
        own = self._users.get(user_id)
        level = None if own is None else parse_level(own, self._rules)
        return self._users_default if level is None else level

    def to_send(self, event_type: str, is_state: bool) -> int:
        """The level required to send an event of this type."""
        own = self._events.get(event_type)
        level = None if own is None else parse_level(own, self._rules)
        return self.level("state_default" if is_state else "events_default") if level is None else level

    def may_send(self, user_id: str, event_type: str, is_state: bool) -> bool:
        return self.of_user(user_id) >= self.to_send(event_type, is_state)

    def notifications(self, key: str) -> int:
        """The level required to trigger notifications of a kind, such as `room`."""
        own = self._notifications.get(key)
        level = None if own is None else parse_level(own, self._rules)
        return _DEFAULT_NOTIFICATION_LEVEL if level is None else level

    def level(self, name: str) -> int:
        """One of the named levels of DEFAULT_LEVELS."""
        own = self.content.get(name)
        level = None if own is None else parse_level(own, self._rules)
        return DEFAULT_LEVELS[name] if level is None else level

    @property
    def invite(self) -> int:
        return self.level("invite")

    @property
    def kick(self) -> int:
        return self.level("kick")

    @property
    def ban(self) -> int:
        return self.level("ban")

    @property
    def redact(self) -> int:
        return self.level("redact")

    @property
    def events_default(self) -> int:
        return self.level("events_default")

    @property
    def state_default(self) -> int:
        return self.level("state_default")

    @property
    def users_default(self) -> int:
        return self._users_default


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
