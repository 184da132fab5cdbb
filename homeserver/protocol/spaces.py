"""Spaces: which m.space.child events count, and the order of a space's children.

Spec: client-server-api #spaces
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from homeserver.protocol.events import Event

_ORDER: Final = re.compile(r"[\x20-\x7e]{1,50}", re.ASCII)
ChildOrder: TypeAlias = tuple[bool, str, int, str]


def is_space(create_content: Mapping[str, Any]) -> bool:
    """Whether the room that this m.room.create content founded is a space."""
    return create_content.get("type") == "m.space"


def via_of(content: Mapping[str, Any]) -> list[str]:
    """The servers of a child or parent event, none when `via` is missing or malformed."""
    via = content.get("via")
    if not isinstance(via, list) or not all(isinstance(server, str) for server in via):
        return []
    return via


def is_valid_child(content: Mapping[str, Any]) -> bool:
    """Whether an m.space.child (or m.space.parent) content makes a link: one without servers has been removed."""
    return bool(via_of(content))


def order_of(content: Mapping[str, Any]) -> str | None:
    """The `order` of a child; None without one, or when it is not valid."""
    order = content.get("order")
    return order if isinstance(order, str) and _ORDER.fullmatch(order) else None


def child_order(event: Event) -> ChildOrder:
    """The sort key of an m.space.child event: by `order`, those without one last; then by time, then by room ID.

    Spec: client-server-api #ordering-of-children-within-a-space
    """
    order = order_of(event.content)
    return (order is None, order or "", event.origin_server_ts, event.state_key or "")


def children_of(state_events: Iterable[Event]) -> list[Event]:
    """The valid m.space.child events among a space's state events, in order."""
    children = [event for event in state_events if event.type == "m.space.child" and event.is_state]
    return sorted((event for event in children if is_valid_child(event.content)), key=child_order)
