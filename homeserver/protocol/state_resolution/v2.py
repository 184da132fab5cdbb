"""State resolution version 2 (room versions 2 to 11) and 2.1 (room version 12), which differ in two rules.
The steps carry the numbers of the specification.

Spec: rooms/v12 #state-resolution
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from homeserver.protocol.event_auth import authorise
from homeserver.protocol.event_builder import auth_state_keys
from homeserver.protocol.event_hashes import create_event_id_of_room_id
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.room_versions import RoomVersion
from homeserver.protocol.state_resolution.auth_graph import AuthGraph
from homeserver.protocol.state_resolution.orderings import mainline_ordering, reverse_topological_power_ordering

_POWER_LEVELS: StateKey = ("m.room.power_levels", "")


def resolve(
    room_version: RoomVersion,
    state_sets: Sequence[Mapping[StateKey, str]],
    graph: AuthGraph,
    is_rejected: Callable[[str], bool],
) -> dict[StateKey, str]:
    unconflicted, conflicted = _separate(state_sets)
    if not conflicted:
        return unconflicted
    full_conflicted = conflicted | _auth_difference(state_sets, unconflicted, conflicted, graph)
    if room_version.state_resolution.considers_conflicted_subgraph:
        full_conflicted |= _conflicted_subgraph(conflicted, graph)
    create = _implied_create_event(room_version, full_conflicted, graph)

    # 1. All power events of the full conflicted set, and what of their auth chains is in it, in order of power.
    power_events = {event.event_id for event in graph.known(full_conflicted) if _is_power_event(event)}
    to_order = graph.closure_of(power_events) & full_conflicted
    ordered = reverse_topological_power_ordering(to_order, graph, create)

    # 2. Iterative auth checks over them give the partially resolved state.
    check = _IterativeAuthChecks(room_version, graph, create, is_rejected)
    if not room_version.state_resolution.starts_from_empty_state:
        check.start_from(unconflicted)
    check.apply(ordered)

    # 3. The remaining events in mainline order, based on the power levels of the partially resolved state.
    power_levels_id = check.state.get(_POWER_LEVELS)
    power_levels = None if power_levels_id is None else graph.find(power_levels_id)
    remaining = mainline_ordering(full_conflicted - to_order, power_levels, graph)

    # 4. Iterative auth checks over these.
    check.apply(remaining)

    # 5. The unconflicted state has the last word.
    return {**check.state, **unconflicted}


def _separate(state_sets: Sequence[Mapping[StateKey, str]]) -> tuple[dict[StateKey, str], set[str]]:
    """The unconflicted state map, and the conflicted state set.

    An entry is unconflicted when every state has it, with the same event.
    """
    first, *others = state_sets
    unconflicted = {
        key: event_id for key, event_id in first.items() if all(other.get(key) == event_id for other in others)
    }
    conflicted = {
        event_id for state_set in state_sets for key, event_id in state_set.items() if key not in unconflicted
    }
    return unconflicted, conflicted


def _auth_difference(
    state_sets: Sequence[Mapping[StateKey, str]],
    unconflicted: Mapping[StateKey, str],
    conflicted: set[str],
    graph: AuthGraph,
) -> set[str]:
    """The events that are in the full auth chain of some of the states, but not of all; conflicted ones left out.

    A state's events count as part of its full auth chain, as in every implementation. What the unconflicted events
    rest on is in all chains, so only the chains of the conflicted events need comparing.
    """
    chains = [graph.closure_of(conflicted.intersection(state_set.values())) for state_set in state_sets]
    difference = set[str]().union(*chains) - chains[0].intersection(*chains[1:])
    difference -= conflicted
    difference -= set(unconflicted.values())
    # Most of a large state are members, who seldom tell anything the rest does not: they are loaded last.
    members = {event_id for key, event_id in unconflicted.items() if key[0] == "m.room.member"}
    for starts in (set(unconflicted.values()) - members, members):
        if difference:
            difference -= graph.closure_of(starts, until_found=difference)
    return difference


def _conflicted_subgraph(conflicted: set[str], graph: AuthGraph) -> set[str]:
    """Every event on a path over auth events from one conflicted event to another, both ends included."""
    citing: dict[str, list[str]] = {}
    for event in graph.known(graph.closure_of(conflicted)):
        for auth_id in event.auth_event_ids:
            citing.setdefault(auth_id, []).append(event.event_id)
    subgraph: set[str] = set()
    level = set(conflicted)
    while level:
        subgraph |= level
        level = {citing_id for event_id in level for citing_id in citing.get(event_id, ())} - subgraph
    return subgraph


def _implied_create_event(room_version: RoomVersion, event_ids: Iterable[str], graph: AuthGraph) -> Event | None:
    """The create event, where the room ID implies it; elsewhere events cite it."""
    if room_version.auth.create_event_is_selected:
        return None
    room_id = next((event.room_id for event in graph.known(event_ids)), None)
    return None if room_id is None else graph.find(create_event_id_of_room_id(room_id))


def _is_power_event(event: Event) -> bool:
    if event.type in {"m.room.power_levels", "m.room.join_rules"}:
        return event.is_state
    return event.membership in {"leave", "ban"} and event.is_state and event.sender != event.state_key


class _IterativeAuthChecks:
    """A state that grows by every event it authorises.

    What an event needs and the state lacks is taken from the event's own auth events, unless those were rejected.
    """

    def __init__(
        self,
        room_version: RoomVersion,
        graph: AuthGraph,
        create: Event | None,
        is_rejected: Callable[[str], bool],
    ) -> None:
        self.state: dict[StateKey, str] = {}
        self._room_version = room_version
        self._graph = graph
        self._create = create
        self._is_rejected = is_rejected

    def start_from(self, state: Mapping[StateKey, str]) -> None:
        self.state = dict(state)

    def apply(self, events: Sequence[Event]) -> None:
        needed = {key for event in events for key in auth_state_keys(event, self._room_version)}
        self._graph.load(self.state[key] for key in needed if key in self.state)
        for event in events:
            if event.is_state and authorise(event, self._auth_state_for(event), self._create) is None:
                self.state[event.key] = event.event_id

    def _auth_state_for(self, event: Event) -> dict[StateKey, Event]:
        auth_state = {
            auth_event.key: auth_event
            for auth_event in self._graph.known(event.auth_event_ids)
            if auth_event.is_state and not self._is_rejected(auth_event.event_id)
        }
        keys = auth_state_keys(event, self._room_version)
        current = [self.state[key] for key in keys if key in self.state]
        auth_state.update({current_event.key: current_event for current_event in self._graph.known(current)})
        return auth_state
