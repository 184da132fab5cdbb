"""Puts events into an order in which each comes after those it refers to. Events of a cycle are left out.

Only room versions 1 and 2, whose event IDs servers make up, can have cycles at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from homeserver.protocol.events import Event


def in_auth_order(events: Mapping[str, Event]) -> list[Event]:
    """Auth events first."""
    return _ordered(events, lambda event: event.auth_event_ids)


def in_graph_order(events: Mapping[str, Event]) -> list[Event]:
    """Prev events first; among equals, by depth and ID, so that every server has the same order."""
    return _ordered(events, lambda event: event.prev_event_ids)


def _ordered(events: Mapping[str, Event], references: Callable[[Event], Iterable[str]]) -> list[Event]:
    waiting_for = {
        event_id: {other for other in references(event) if other in events} for event_id, event in events.items()
    }
    referring: dict[str, list[str]] = {}
    for event_id, others in waiting_for.items():
        for other in others:
            referring.setdefault(other, []).append(event_id)
    level = [event_id for event_id, others in waiting_for.items() if not others]
    ordered: list[Event] = []
    while level:
        level.sort(key=lambda event_id: (events[event_id].depth, event_id))
        ordered.extend(events[event_id] for event_id in level)
        following = []
        for event_id in level:
            for other in referring.get(event_id, ()):
                waiting_for[other].discard(event_id)
                if not waiting_for[other]:
                    following.append(other)
        level = following
    return ordered
