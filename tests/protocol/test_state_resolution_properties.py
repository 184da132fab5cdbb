"""Properties of state resolution on random rooms with random forks."""

from __future__ import annotations

import math
from collections.abc import Collection
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol.room_builder import ALICE, BOB, CAROL, DAVE, RoomBuilder, new_room

from homeserver.protocol.event_auth import authorise
from homeserver.protocol.event_builder import auth_state_keys
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.power_levels import PowerLevels
from homeserver.protocol.state_resolution import resolve

USERS = [ALICE, BOB, CAROL, DAVE]


def act(branch: RoomBuilder, random: Random) -> None:
    """Try something; whatever the rules refuse does not happen."""
    sender, target = random.choice(USERS), random.choice(USERS)
    is_v12 = branch.version.identifier == "12"
    users = {user: random.choice([0, 50, 100]) for user in USERS if not (is_v12 and user == ALICE)}
    event_type, content, state_key = random.choice([
        ("m.room.topic", {"topic": str(random.random())}, ""),
        ("m.room.member", {"membership": random.choice(["join", "leave", "ban", "invite"])}, target),
        ("m.room.member", {"membership": "join"}, sender),
        ("m.room.power_levels", {"users": users}, ""),
        ("m.room.join_rules", {"join_rule": random.choice(["public", "invite"])}, ""),
    ])  # fmt: skip
    event = branch.make(event_type, sender, content, state_key, ts=random.randrange(100))
    if branch.judge(event) is None:
        branch.apply(event)


def random_forks(version: str, seed: int) -> tuple[RoomBuilder, list[dict[StateKey, str]]]:
    random = Random(seed)
    room = new_room(version)
    for user in USERS[1:]:
        room.member(user, "join")
    for _ in range(random.randrange(6)):
        act(room, random)
    branches = [room.fork() for _ in range(random.choice([2, 2, 3]))]
    for branch in branches:
        for _ in range(random.randrange(1, 8)):
            act(branch, random)
    return room, [branch.ids() for branch in branches]


def chain_of(room: RoomBuilder, event_ids: Collection[str]) -> set[str]:
    """The events and everything they rest on, one by one."""
    seen: set[str] = set()
    waiting = list(event_ids)
    while waiting:
        event_id = waiting.pop()
        if event_id not in seen:
            seen.add(event_id)
            waiting.extend(room.events[event_id].auth_event_ids)
    return seen


def power_levels_of(room: RoomBuilder, event: Event) -> Event | None:
    auth_events = [room.events[event_id] for event_id in event.auth_event_ids]
    return next((auth for auth in auth_events if auth.type == "m.room.power_levels"), None)


def power_key(room: RoomBuilder, event: Event) -> tuple[float, int, str]:
    own = [room.events[event_id] for event_id in event.auth_event_ids]
    levels = PowerLevels.of({auth.key: auth for auth in own}, room.version, room.create)
    return (-levels.of_user(event.sender), event.origin_server_ts, event.event_id)


def mainline_key(room: RoomBuilder, mainline: list[str], event: Event) -> tuple[float, int, str]:
    line = power_levels_of(room, event)
    while line is not None and line.event_id not in mainline:
        line = power_levels_of(room, line)
    position = math.inf if line is None else mainline.index(line.event_id)
    return (-position, event.origin_server_ts, event.event_id)


def is_power_event(event: Event) -> bool:
    is_removal = event.membership in {"leave", "ban"} and event.sender != event.state_key
    return event.type in {"m.room.power_levels", "m.room.join_rules"} or is_removal


def check_in_turn(room: RoomBuilder, state: dict[StateKey, str], events: list[Event]) -> None:
    for event in events:
        auth_state = {room.events[event_id].key: room.events[event_id] for event_id in event.auth_event_ids}
        for key in auth_state_keys(event, room.version):
            if key in state:
                auth_state[key] = room.events[state[key]]
        if authorise(event, auth_state, room.create) is None:
            state[event.key] = event.event_id


def resolve_word_by_word(room: RoomBuilder, states: list[dict[StateKey, str]]) -> dict[StateKey, str]:
    """Version 2 and 2.1 as the specification words them, without a thought of speed."""
    keys = {key for state in states for key in state}
    unconflicted = {key: states[0][key] for key in keys if len({state.get(key) for state in states}) == 1}
    conflicted = {state[key] for state in states for key in state if key not in unconflicted}
    chains = [chain_of(room, state.values()) for state in states]
    full = conflicted | (set.union(*chains) - set.intersection(*chains))
    is_v2_1 = room.version.state_resolution.considers_conflicted_subgraph
    if is_v2_1:
        full |= {event_id for event_id in chain_of(room, conflicted) if chain_of(room, [event_id]) & conflicted}
    power_events = {event_id for event_id in full if is_power_event(room.events[event_id])}
    to_order = full & chain_of(room, power_events)
    ordered: list[Event] = []
    left = set(to_order)
    while left:
        free = [event_id for event_id in left if chain_of(room, [event_id]) & left == {event_id}]
        first = min(free, key=lambda event_id: power_key(room, room.events[event_id]))
        ordered.append(room.events[first])
        left.remove(first)
    state = {} if is_v2_1 else dict(unconflicted)
    check_in_turn(room, state, ordered)
    mainline: list[str] = []
    line = room.events.get(state.get(("m.room.power_levels", ""), ""))
    while line is not None:
        mainline.append(line.event_id)
        line = power_levels_of(room, line)
    remaining = [room.events[event_id] for event_id in full - to_order]
    check_in_turn(room, state, sorted(remaining, key=lambda event: mainline_key(room, mainline, event)))
    return {**state, **unconflicted}


@pytest.mark.parametrize("version", ["1", "2", "11", "12"])
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_resolution(version: str, seed: int) -> None:
    room, states = random_forks(version, seed)

    def load(event_ids: Collection[str]) -> dict[str, Event]:
        return {event_id: room.events[event_id] for event_id in event_ids}

    def load_in_other_order(event_ids: Collection[str]) -> dict[str, Event]:
        return dict(reversed(load(sorted(event_ids)).items()))

    result = resolve(room.version, states, load)
    # It depends neither on the order, nor on repetitions, nor on how events are loaded.
    assert resolve(room.version, states[::-1], load_in_other_order) == result
    assert resolve(room.version, [*states[1:], *states], load) == result
    # It is what the specification's wording gives.
    if version != "1" and any(state != states[0] for state in states):
        assert resolve_word_by_word(room, states) == result
    # It is made of what was there, each under its own key.
    assert all(room.events[event_id].key == key for key, event_id in result.items())
    # What all agree on stays.
    agreed = set.intersection(*(set(state.items()) for state in states))
    assert agreed <= set(result.items())
    # Resolving again changes nothing.
    assert resolve(room.version, [result, result], load) == result
    assert result["m.room.create", ""] == room.ids()["m.room.create", ""]
