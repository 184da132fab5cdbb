"""What clients send to sliding sync, in the dialect that is deployed and in the one that was accepted.

Both are read into the same request.

Spec: MSC4186, "Request Body" and the differences of its changelog
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec

from homeserver.protocol.errors import invalid_param
from homeserver.services.sliding_sync.request import Extensions, ListFilter, ListRequest, RoomConfig, RoomExtension
from homeserver.services.sliding_sync.required_state import (
    Pattern,
    RequiredState,
    StateSelection,
    required_state,
)

_MOST_LISTS = 100
_MOST_SUBSCRIPTIONS = {"deployed": 1_000, "accepted": 100}
_MOST_PATTERNS = 200
_MOST_EVENTS = 100
_MOST_RANGES = 20

Index = Annotated[int, msgspec.Meta(ge=0)]
Range = tuple[Index, Index]


class _Filters(msgspec.Struct):
    is_dm: bool | None = None
    spaces: list[str] | None = None
    is_encrypted: bool | None = None
    is_invite: bool | None = None
    is_invited: bool | None = None
    room_types: list[str | None] | None = None
    not_room_types: list[str | None] | None = None
    tags: list[str] | None = None
    not_tags: list[str] | None = None

    def parse(self) -> ListFilter:
        return ListFilter(
            is_dm=self.is_dm,
            spaces=None if self.spaces is None else frozenset(self.spaces),
            is_encrypted=self.is_encrypted,
            is_invited=self.is_invite if self.is_invited is None else self.is_invited,
            room_types=None if self.room_types is None else frozenset(self.room_types),
            not_room_types=frozenset(self.not_room_types or ()),
            tags=None if self.tags is None else frozenset(self.tags),
            not_tags=frozenset(self.not_tags or ()),
        )


class _Toggle(msgspec.Struct):
    enabled: bool = False


class _ToDevice(msgspec.Struct):
    enabled: bool = False
    since: str | None = None


class _OfRooms(msgspec.Struct):
    enabled: bool = False
    lists: list[str] | None = None
    rooms: list[str] | None = None

    def parse(self) -> RoomExtension | None:
        return RoomExtension(_some(self.lists), _some(self.rooms)) if self.enabled else None


class _Extensions(msgspec.Struct):
    to_device: _ToDevice = msgspec.field(default_factory=_ToDevice)
    e2ee: _Toggle = msgspec.field(default_factory=_Toggle)
    account_data: _OfRooms = msgspec.field(default_factory=_OfRooms)
    receipts: _OfRooms = msgspec.field(default_factory=_OfRooms)
    typing: _OfRooms = msgspec.field(default_factory=_OfRooms)

    def parse(self) -> Extensions:
        since = self.to_device.since
        if since is not None and not (since.isascii() and since.isdigit() and len(since) <= 18):
            raise invalid_param("`extensions.to_device.since` is not a token of this server.")
        return Extensions(
            to_device=self.to_device.enabled,
            to_device_since=int(since) if since else 0,
            e2ee=self.e2ee.enabled,
            account_data=self.account_data.parse(),
            receipts=self.receipts.parse(),
            typing=self.typing.parse(),
        )


class _DeployedConfig(msgspec.Struct):
    timeline_limit: Index = 1
    required_state: list[tuple[str, str]] = []

    def config(self, user_id: str) -> RoomConfig:
        return RoomConfig(min(self.timeline_limit, _MOST_EVENTS), self._state(user_id))

    def _state(self, user_id: str) -> RequiredState:
        """`*` stands for any, `$ME` for the user, and members with `$LAZY` come when they are needed."""
        include: set[Pattern] = set()
        lazy_members = False
        for event_type, state_key in self.required_state:
            if (event_type, state_key) == ("m.room.member", "$LAZY"):
                lazy_members = True
                continue
            key = user_id if state_key == "$ME" else state_key
            include.add((None if event_type == "*" else event_type, None if key == "*" else key))
        return _selected(include, (), lazy_members)


class _DeployedList(_DeployedConfig):
    ranges: list[Range] | None = None
    filters: _Filters = msgspec.field(default_factory=_Filters)

    def parse(self, user_id: str) -> ListRequest:
        ranges = None if self.ranges is None else _ranges(self.ranges)
        return ListRequest(self.config(user_id), self.filters.parse(), ranges)


class DeployedBody(msgspec.Struct):
    """The body at the unstable path."""

    conn_id: str = ""
    txn_id: str | None = None
    lists: dict[str, _DeployedList] = {}
    room_subscriptions: dict[str, _DeployedConfig] = {}
    extensions: _Extensions = msgspec.field(default_factory=_Extensions)

    def parse(self, user_id: str) -> tuple[Mapping[str, ListRequest], Mapping[str, RoomConfig]]:
        """The lists and subscriptions. Raises M_INVALID_PARAM."""
        _check_sizes(self.lists, self.room_subscriptions, _MOST_SUBSCRIPTIONS["deployed"])
        return (
            {name: wanted.parse(user_id) for name, wanted in self.lists.items()},
            {room_id: wanted.config(user_id) for room_id, wanted in self.room_subscriptions.items()},
        )


class _Element(msgspec.Struct):
    type: str | None = None
    state_key: str | None = None


class _AcceptedState(msgspec.Struct):
    include: list[_Element] = []
    exclude: list[_Element] = []
    lazy_members: bool = False


class _AcceptedConfig(msgspec.Struct):
    timeline_limit: Index
    required_state: _AcceptedState

    def config(self) -> RoomConfig:
        wanted = self.required_state
        include, exclude = (
            {(element.type, element.state_key) for element in elements} for elements in (wanted.include, wanted.exclude)
        )
        return RoomConfig(min(self.timeline_limit, _MOST_EVENTS), _selected(include, exclude, wanted.lazy_members))


class _AcceptedList(_AcceptedConfig):
    range: Range | None = None
    filters: _Filters = msgspec.field(default_factory=_Filters)

    def parse(self) -> ListRequest:
        return ListRequest(self.config(), self.filters.parse(), None if self.range is None else _ranges([self.range]))


class AcceptedBody(msgspec.Struct):
    """The body at the stable path."""

    conn_id: str = ""
    pos: str | None = None
    timeout: Index = 0
    set_presence: str = "online"
    lists: dict[str, _AcceptedList] = {}
    room_subscriptions: dict[str, _AcceptedConfig] = {}
    extensions: _Extensions = msgspec.field(default_factory=_Extensions)

    def parse(self) -> tuple[Mapping[str, ListRequest], Mapping[str, RoomConfig]]:
        """The lists and subscriptions. Raises M_INVALID_PARAM."""
        _check_sizes(self.lists, self.room_subscriptions, _MOST_SUBSCRIPTIONS["accepted"])
        return (
            {name: wanted.parse() for name, wanted in self.lists.items()},
            {room_id: wanted.config() for room_id, wanted in self.room_subscriptions.items()},
        )


def _selected(include: Iterable[Pattern], exclude: Iterable[Pattern], lazy_members: bool) -> RequiredState:
    selection = StateSelection(frozenset(include), frozenset(exclude), lazy_members)
    if len(selection.include) + len(selection.exclude) > _MOST_PATTERNS:
        raise invalid_param(f"`required_state` may have at most {_MOST_PATTERNS} entries.")
    return required_state(frozenset([selection]))


def _ranges(given: list[Range]) -> tuple[Range, ...]:
    if not given or len(given) > _MOST_RANGES or any(start > end for start, end in given):
        raise invalid_param(f"A list has 1 to {_MOST_RANGES} ranges, each from a lower to a higher index.")
    return tuple(given)


def _check_sizes(lists: Mapping[str, object], subscriptions: Mapping[str, object], most_subscriptions: int) -> None:
    if len(lists) > _MOST_LISTS:
        raise invalid_param(f"There may be at most {_MOST_LISTS} lists.")
    if len(subscriptions) > most_subscriptions:
        raise invalid_param(f"There may be at most {most_subscriptions} subscriptions.")


def _some(names: list[str] | None) -> frozenset[str] | None:
    """None for all of them, however that is said."""
    return None if names is None or "*" in names else frozenset(names)
