"""The two orderings of state resolution version 2: by power along the auth graph, and by mainline.

Spec: rooms/v2 #definitions
"""

from __future__ import annotations

import math
from collections.abc import Collection
from heapq import heapify, heappop, heappush
from typing import TypeAlias

from homeserver.protocol.events import Event
from homeserver.protocol.power_levels import PowerLevels, creator_of, creators_of
from homeserver.protocol.state_resolution.auth_graph import AuthGraph

_PowerKey: TypeAlias = tuple[float, int, str]


def reverse_topological_power_ordering(
    event_ids: Collection[str], graph: AuthGraph, create: Event | None
) -> list[Event]:
    """The events from earliest to latest: auth events before those they authorise, the powerful before the weak.

    `create` is the room's create event where the room version does not list it among the auth events.
    """
    events = {event.event_id: event for event in graph.known(event_ids)}
    parents = {event_id: _nearest_ancestors(event, events.keys(), graph) for event_id, event in events.items()}
    children: dict[str, list[str]] = {event_id: [] for event_id in events}
    for event_id, of_event in parents.items():
        for parent in of_event:
            children[parent].append(event_id)
    open_parents = {event_id: len(of_event) for event_id, of_event in parents.items()}
    keys = {event_id: _power_key(event, graph, create) for event_id, event in events.items()}
    candidates = [keys[event_id] for event_id, count in open_parents.items() if count == 0]
    heapify(candidates)
    ordered: list[Event] = []
    while candidates:
        event_id = heappop(candidates)[2]
        ordered.append(events[event_id])
        for child in children[event_id]:
            open_parents[child] -= 1
            if open_parents[child] == 0:
                heappush(candidates, keys[child])
    return ordered


def mainline_ordering(event_ids: Collection[str], power_levels: Event | None, graph: AuthGraph) -> list[Event]:
    """The events ordered by how late in the history of `power_levels` they were authorised, the earliest first."""
    positions: dict[str, float] = {}
    position = 0
    current = power_levels
    while current is not None and current.event_id not in positions:
        positions[current.event_id] = position
        position += 1
        current = _power_levels_of(current, graph)
    events = graph.known(event_ids)
    return sorted(
        events, key=lambda event: (-_mainline_position(event, positions, graph), event.origin_server_ts, event.event_id)
    )


def _mainline_position(event: Event, positions: dict[str, float], graph: AuthGraph) -> float:
    """The position of the first power levels on the event's own line that are in the mainline; remembers the line."""
    line: list[str] = []
    current = _power_levels_of(event, graph)
    while current is not None and current.event_id not in positions:
        line.append(current.event_id)
        positions[current.event_id] = math.inf
        current = _power_levels_of(current, graph)
    position = math.inf if current is None else positions[current.event_id]
    for event_id in line:
        positions[event_id] = position
    return position


def _power_levels_of(event: Event, graph: AuthGraph) -> Event | None:
    return graph.find_auth_event(event, ("m.room.power_levels", ""))


def _power_key(event: Event, graph: AuthGraph, create: Event | None) -> _PowerKey:
    return (-sender_level(event, graph, create), event.origin_server_ts, event.event_id)


def sender_level(event: Event, graph: AuthGraph, create: Event | None) -> float:
    """The power level of the event's sender, looking only at the auth events of that event."""
    if create is None:
        create = graph.find_auth_event(event, ("m.room.create", ""))
    power_levels = _power_levels_of(event, graph)
    levels = PowerLevels(
        None if power_levels is None else power_levels.content,
        event.room_version,
        creators=frozenset() if create is None else creators_of(create),
        founder=None if create is None else creator_of(create),
    )
    return levels.of_user(event.sender)


def _nearest_ancestors(event: Event, members: Collection[str], graph: AuthGraph) -> set[str]:
    """The members of the set reachable over auth events without passing through another member."""
    nearest: set[str] = set()
    seen: set[str] = set()
    level = set(event.auth_event_ids)
    while level:
        seen |= level
        nearest |= {event_id for event_id in level if event_id in members}
        outside = [event_id for event_id in level if event_id not in members]
        level = {auth_id for parent in graph.known(outside) for auth_id in parent.auth_event_ids} - seen
    nearest.discard(event.event_id)
    return nearest
