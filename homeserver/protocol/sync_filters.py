"""Filters: what of a room, and of which events, a client wants to hear.

Spec: client-server-api #filtering
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from homeserver.protocol.canonical_json import MAX_INTEGER
from homeserver.protocol.errors import bad_json
from homeserver.protocol.property_paths import ABSENT, parse_property_path, property_at

EVENT_FORMATS: Final = frozenset({"client", "federation"})


class TypePatterns:
    """A list of event types in which `*` stands for any characters."""

    __slots__ = ("_exact", "_wildcards", "patterns")

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = tuple(patterns)
        self._exact = frozenset(pattern for pattern in patterns if "*" not in pattern)
        self._wildcards = [_compile_wildcard(pattern) for pattern in patterns if "*" in pattern]

    def match(self, event_type: str) -> bool:
        return event_type in self._exact or any(
            wildcard.fullmatch(event_type) is not None for wildcard in self._wildcards
        )


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events, and how many. None for a list means that it is absent, and so excludes nothing.

    The fields from `rooms` on matter only for events in rooms.
    """

    limit: int | None = None
    types: TypePatterns | None = None
    not_types: TypePatterns | None = None
    senders: frozenset[str] | None = None
    not_senders: frozenset[str] = frozenset()
    rooms: frozenset[str] | None = None
    not_rooms: frozenset[str] = frozenset()
    contains_url: bool | None = None
    lazy_load_members: bool = False
    include_redundant_members: bool = False
    unread_thread_notifications: bool = False
    related_by_senders: frozenset[str] | None = None
    related_by_rel_types: frozenset[str] | None = None

    @classmethod
    def parse(cls, raw: object, where: str = "filter") -> EventFilter:
        """A RoomEventFilter (an EventFilter is one with fewer fields) from JSON; raises M_BAD_JSON."""
        source = _object(raw, where)
        types, not_types = _strings(source, "types", where), _strings(source, "not_types", where)
        return cls(
            limit=_limit(source, where),
            types=None if types is None else TypePatterns(types),
            not_types=None if not_types is None else TypePatterns(not_types),
            senders=_identifiers(source, "senders", where, "@"),
            not_senders=_identifiers(source, "not_senders", where, "@") or frozenset(),
            rooms=_identifiers(source, "rooms", where, "!"),
            not_rooms=_identifiers(source, "not_rooms", where, "!") or frozenset(),
            contains_url=_boolean(source, "contains_url", where),
            lazy_load_members=_boolean(source, "lazy_load_members", where) or False,
            include_redundant_members=_boolean(source, "include_redundant_members", where) or False,
            unread_thread_notifications=_boolean(source, "unread_thread_notifications", where) or False,
            related_by_senders=_identifiers(source, "related_by_senders", where, "@"),
            related_by_rel_types=_set_or_none(_strings(source, "related_by_rel_types", where)),
        )

    def accepts(
        self, event_type: str, sender: str | None, room_id: str | None = None, content: Mapping[str, Any] | None = None
    ) -> bool:
        """Whether one event passes; leave out what the event does not have. An exclusion beats an inclusion."""
        if self.types is not None and not self.types.match(event_type):
            return False
        if self.not_types is not None and self.not_types.match(event_type):
            return False
        if self.senders is not None and sender not in self.senders:
            return False
        if sender in self.not_senders:
            return False
        if room_id is not None and not self.accepts_room(room_id):
            return False
        return self.contains_url is None or ("url" in (content or {})) is self.contains_url

    def accepts_room(self, room_id: str) -> bool:
        return room_id not in self.not_rooms and (self.rooms is None or room_id in self.rooms)

    @property
    def accepts_every_event(self) -> bool:
        """Whether there is nothing to check, event by event."""
        return (
            self.types is None
            and self.not_types is None
            and self.senders is None
            and not self.not_senders
            and self.rooms is None
            and not self.not_rooms
            and self.contains_url is None
        )


@dataclass(frozen=True, slots=True)
class RoomFilter:
    """Which rooms, and what of each."""

    rooms: frozenset[str] | None = None
    not_rooms: frozenset[str] = frozenset()
    include_leave: bool = False
    state: EventFilter = field(default_factory=EventFilter)
    timeline: EventFilter = field(default_factory=EventFilter)
    ephemeral: EventFilter = field(default_factory=EventFilter)
    account_data: EventFilter = field(default_factory=EventFilter)

    @classmethod
    def parse(cls, raw: object) -> RoomFilter:
        source = _object(raw, "room")
        return cls(
            rooms=_identifiers(source, "rooms", "room", "!"),
            not_rooms=_identifiers(source, "not_rooms", "room", "!") or frozenset(),
            include_leave=_boolean(source, "include_leave", "room") or False,
            state=EventFilter.parse(source.get("state", {}), "room.state"),
            timeline=EventFilter.parse(source.get("timeline", {}), "room.timeline"),
            ephemeral=EventFilter.parse(source.get("ephemeral", {}), "room.ephemeral"),
            account_data=EventFilter.parse(source.get("account_data", {}), "room.account_data"),
        )

    def allows_room(self, room_id: str) -> bool:
        """Judged before, and apart from, the filters on what is in the room."""
        return room_id not in self.not_rooms and (self.rooms is None or room_id in self.rooms)


@dataclass(frozen=True, slots=True)
class Filter:
    """A whole sync filter. `event_fields` are dot-separated paths; None includes every field."""

    event_fields: tuple[str, ...] | None = None
    event_format: str = "client"
    presence: EventFilter = field(default_factory=EventFilter)
    account_data: EventFilter = field(default_factory=EventFilter)
    room: RoomFilter = field(default_factory=RoomFilter)

    @classmethod
    def parse(cls, raw: object) -> Filter:
        """A filter from JSON; keys that no filter has are ignored. Raises M_BAD_JSON."""
        source = _object(raw, "filter")
        event_format = source.get("event_format", "client")
        if not isinstance(event_format, str) or event_format not in EVENT_FORMATS:
            raise bad_json("The filter's event_format is neither 'client' nor 'federation'.")
        event_fields = _strings(source, "event_fields", "filter")
        return cls(
            event_fields=None if event_fields is None else tuple(event_fields),
            event_format=event_format,
            presence=EventFilter.parse(source.get("presence", {}), "presence"),
            account_data=EventFilter.parse(source.get("account_data", {}), "account_data"),
            room=RoomFilter.parse(source.get("room", {})),
        )

    def allows_room(self, room_id: str) -> bool:
        return self.room.allows_room(room_id)


def apply_event_fields(event: Mapping[str, Any], fields: Iterable[str]) -> dict[str, Any]:
    """A new event dict with only the properties at the given dot-separated paths."""
    kept: dict[str, Any] = {}
    for path in fields:
        names = parse_property_path(path)
        value = property_at(names, event)
        if value is not ABSENT:
            _set_at(kept, names, value)
    return kept


def _set_at(target: dict[str, Any], names: tuple[str, ...], value: Any) -> None:
    for name in names[:-1]:
        child = target.get(name)
        # A parent that was copied whole already holds what is below it; fresh dicts are ours to extend.
        target[name] = dict(child) if isinstance(child, dict) else {}
        target = target[name]
    target[names[-1]] = value


def _compile_wildcard(pattern: str) -> re.Pattern[str]:
    """As a regular expression that cannot backtrack from one `*` into another."""
    first, *middle, last = (re.escape(part) for part in pattern.split("*"))
    return re.compile(first + "".join(f"(?>.*?{part})" for part in middle) + f".*{last}", re.DOTALL)


def _object(raw: object, where: str) -> Mapping[str, Any]:
    if not isinstance(raw, dict):
        raise bad_json(f"The filter's {where} is not an object.")
    return raw


def _strings(source: Mapping[str, Any], key: str, where: str) -> list[str] | None:
    value = source.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise bad_json(f"The filter's {where}.{key} is not a list of strings.")
    return value


def _identifiers(source: Mapping[str, Any], key: str, where: str, sigil: str) -> frozenset[str] | None:
    strings = _strings(source, key, where)
    if strings is None:
        return None
    if not all(entry.startswith(sigil) for entry in strings):
        raise bad_json(f"The filter's {where}.{key} has entries that do not start with {sigil!r}.")
    return frozenset(strings)


def _set_or_none(strings: list[str] | None) -> frozenset[str] | None:
    return None if strings is None else frozenset(strings)


def _boolean(source: Mapping[str, Any], key: str, where: str) -> bool | None:
    value = source.get(key)
    if value is not None and not isinstance(value, bool):
        raise bad_json(f"The filter's {where}.{key} is neither true nor false.")
    return value


def _limit(source: Mapping[str, Any], where: str) -> int | None:
    """The limit; 0 is not in the specification, but clients use it to ask for no events at all."""
    value = source.get("limit")
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= MAX_INTEGER:
        raise bad_json(f"The filter's {where}.limit is not a positive integer.")
    return value
