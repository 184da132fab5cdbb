"""State resolution of room version 1: conflicts are settled type by type, by depth and hash.

Spec: rooms/v1 #state-resolution
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha1

from homeserver.protocol.event_auth import authorise
from homeserver.protocol.event_builder import auth_state_keys
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.room_versions import RoomVersion
from homeserver.protocol.state_resolution.auth_graph import AuthGraph

_AUTH_TYPES_IN_ORDER = ("m.room.power_levels", "m.room.join_rules", "m.room.member")


def resolve(
    room_version: RoomVersion, state_sets: Sequence[Mapping[StateKey, str]], graph: AuthGraph
) -> dict[StateKey, str]:
    candidates: dict[StateKey, set[str]] = {}
    for state_set in state_sets:
        for key, event_id in state_set.items():
            candidates.setdefault(key, set()).add(event_id)
    # R starts as the union of the states, without the conflicting events.
    resolved = {key: next(iter(event_ids)) for key, event_ids in candidates.items() if len(event_ids) == 1}
    graph.load(event_id for event_ids in candidates.values() if len(event_ids) > 1 for event_id in event_ids)
    conflicts = {key: graph.known(event_ids) for key, event_ids in candidates.items() if len(event_ids) > 1}
    state = _auth_relevant_state(resolved, conflicts, room_version, graph)

    # Conflicts between power levels, then join rules, then members: each pass rests on the ones before it.
    for event_type in _AUTH_TYPES_IN_ORDER:
        settled = {
            key: _resolve_auth_conflict(events, state)
            for key, events in conflicts.items()
            if key[0] == event_type and events
        }
        state.update(settled)
        resolved.update({key: event.event_id for key, event in settled.items()})

    # No other events affect the authorisation rules.
    for key, events in conflicts.items():
        if key[0] not in _AUTH_TYPES_IN_ORDER and events:
            resolved[key] = _resolve_other_conflict(events, state).event_id
    return resolved


def _resolve_auth_conflict(events: list[Event], state: Mapping[StateKey, Event]) -> Event:
    """The last event of an unbroken row of allowed ones, from the smallest depth upwards."""
    ordered = sorted(events, key=_by_hash, reverse=True)
    ordered.sort(key=lambda event: event.depth)
    room = dict(state)
    chosen = ordered[0]
    room[chosen.key] = chosen
    for event in ordered[1:]:
        if authorise(event, room) is not None:
            break
        chosen = event
        room[event.key] = event
    return chosen


def _resolve_other_conflict(events: list[Event], state: Mapping[StateKey, Event]) -> Event:
    """The allowed event of the greatest depth; where none is allowed, the one of the smallest, as all servers do."""
    ordered = sorted(events, key=_by_hash)
    ordered.sort(key=lambda event: event.depth, reverse=True)
    for event in ordered:
        if authorise(event, state) is None:
            return event
    return ordered[-1]


def _by_hash(event: Event) -> bytes:
    return sha1(event.event_id.encode(), usedforsecurity=False).digest()


def _auth_relevant_state(
    resolved: Mapping[StateKey, str],
    conflicts: Mapping[StateKey, Iterable[Event]],
    room_version: RoomVersion,
    graph: AuthGraph,
) -> dict[StateKey, Event]:
    """The part of R that authorising the conflicting events can ask for."""
    keys = {key for events in conflicts.values() for event in events for key in auth_state_keys(event, room_version)}
    event_ids = [resolved[key] for key in keys if key in resolved]
    return {event.key: event for event in graph.known(event_ids)}
