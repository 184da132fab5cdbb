"""State resolution: one room state out of the states after several prev events.
The room version says which algorithm; the result depends neither on the order of the states nor on who asks.

Spec: server-server-api #room-state-resolution
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.room_versions import RoomVersion, StateResolutionAlgorithm
from homeserver.protocol.state_resolution import v1, v2
from homeserver.protocol.state_resolution.auth_graph import AuthGraph

__all__ = ["resolve"]


def resolve(
    room_version: RoomVersion,
    state_sets: Sequence[Mapping[StateKey, str]],
    load_events: Callable[[Collection[str]], Mapping[str, Event]],
    is_rejected: Callable[[str], bool] = lambda _: False,
) -> dict[StateKey, str]:
    """The resolved state, as event IDs by state key.

    `load_events` gets batches of event IDs and returns the events that are known; auth chains are walked through it
    level by level. `is_rejected` tells which auth events must not be used to authorise others.
    """
    distinct: list[Mapping[StateKey, str]] = []
    for state_set in state_sets:
        if state_set not in distinct:
            distinct.append(state_set)
    if not distinct:
        return {}
    if len(distinct) == 1:
        return dict(distinct[0])
    graph = AuthGraph(load_events)
    if room_version.state_resolution.algorithm is StateResolutionAlgorithm.V1:
        return v1.resolve(room_version, distinct, graph)
    return v2.resolve(room_version, distinct, graph, is_rejected)
