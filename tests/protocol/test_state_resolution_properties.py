"""Properties of state resolution on random rooms with random forks."""

from __future__ import annotations

from collections.abc import Collection
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol.room_builder import ALICE, BOB, CAROL, DAVE, RoomBuilder, new_room

from homeserver.protocol.events import Event, StateKey
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
    # It is made of what was there, each under its own key.
    assert all(room.events[event_id].key == key for key, event_id in result.items())
    # What all agree on stays.
    agreed = set.intersection(*(set(state.items()) for state in states))
    assert agreed <= set(result.items())
    # Resolving again changes nothing.
    assert resolve(room.version, [result, result], load) == result
    # The creator cannot be removed from their room.
    assert room.events[result["m.room.member", ALICE]].membership in {"join", "leave", "ban"}
    assert result["m.room.create", ""] == room.ids()["m.room.create", ""]
