"""State resolution on small rooms whose outcome the specification determines."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from hashlib import sha1
from typing import Any

import pytest
from protocol.room_builder import ALICE, BOB, CAROL, RoomBuilder, new_room

from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.room_versions import ROOM_VERSIONS
from homeserver.protocol.state_resolution import resolve

TOPIC: StateKey = ("m.room.topic", "")
POWER: StateKey = ("m.room.power_levels", "")
RULES: StateKey = ("m.room.join_rules", "")
V2_AND_LATER = [version for version in ROOM_VERSIONS if version != "1"]


def member(user: str) -> StateKey:
    return ("m.room.member", user)


def resolved(
    room: RoomBuilder, *branches: RoomBuilder | Mapping[StateKey, str], rejected: Collection[str] = ()
) -> dict[StateKey, Event]:
    """The resolution of the branches' states, checked to be independent of their order."""

    def load(event_ids: Collection[str]) -> dict[str, Event]:
        return {event_id: room.events[event_id] for event_id in event_ids if event_id in room.events}

    states = [branch.ids() if isinstance(branch, RoomBuilder) else branch for branch in branches]
    results = [resolve(room.version, order, load, rejected.__contains__) for order in (states, states[::-1])]
    assert results[0] == results[1]
    return {key: room.events[event_id] for key, event_id in results[0].items()}


def creator(version: str) -> dict[str, Any]:
    return {} if version == "12" else {ALICE: 100}


def powered_room(version: str) -> RoomBuilder:
    """Bob has 50 and may do everything but outrank Alice; Carol is just a member."""
    room = new_room(version)
    room.member(BOB, "join")
    room.member(CAROL, "join")
    room.power(ALICE, {**creator(version), BOB: 50})
    return room


@pytest.mark.parametrize("version", ROOM_VERSIONS)
class TestTrivial:
    def test_no_state_and_one_state(self, version: str) -> None:
        room = new_room(version)
        assert resolve(room.version, [], lambda _: {}) == {}

        def load(_: Collection[str]) -> dict[str, Event]:
            raise AssertionError("nothing to load")

        assert resolve(room.version, [room.ids(), dict(room.ids())], load) == room.ids()

    def test_result_is_a_copy(self, version: str) -> None:
        room = new_room(version)
        state = room.ids()
        resolve(room.version, [state], lambda _: {}).clear()
        assert state == room.ids()

    def test_one_branch_ahead_of_the_other(self, version: str) -> None:
        room = powered_room(version)
        old = room.fork()
        topic = room.send("m.room.topic", ALICE, {"topic": "x"}, "")
        assert resolved(room, old, room)[TOPIC] == topic

    def test_independent_changes_are_merged(self, version: str) -> None:
        room = powered_room(version)
        one, two = room.fork(), room.fork()
        topic = one.send("m.room.topic", ALICE, {"topic": "x"}, "")
        name = two.send("m.room.name", BOB, {"name": "x"}, "")
        state = resolved(room, one, two)
        assert (state[TOPIC], state["m.room.name", ""]) == (topic, name)
        assert len(state) == len(room.state) + 2


@pytest.mark.parametrize("version", V2_AND_LATER)
class TestVersion2:
    def test_later_topic_wins(self, version: str) -> None:
        room = powered_room(version)
        one, two = room.fork(), room.fork()
        early = one.send("m.room.topic", ALICE, {"topic": "early"}, "", ts=10)
        late = two.send("m.room.topic", BOB, {"topic": "late"}, "", ts=20)
        assert resolved(room, one, two)[TOPIC] == late
        assert early.depth == late.depth

    def test_equal_times_are_settled_by_id(self, version: str) -> None:
        room = powered_room(version)
        one, two = room.fork(), room.fork()
        topics = [
            one.send("m.room.topic", ALICE, {"topic": "one"}, "", ts=10),
            two.send("m.room.topic", ALICE, {"topic": "two"}, "", ts=10),
        ]
        assert resolved(room, one, two)[TOPIC] == max(topics, key=lambda event: event.event_id)

    def test_ban_beats_the_topic_of_the_banned(self, version: str) -> None:
        room = powered_room(version)
        one, two = room.fork(), room.fork()
        ban = one.member(BOB, "ban", ALICE)
        two.send("m.room.topic", BOB, {"topic": "x"}, "")
        state = resolved(room, one, two)
        assert state[member(BOB)] == ban
        assert TOPIC not in state

    def test_ban_beats_a_profile_change(self, version: str) -> None:
        room = powered_room(version)
        one, two = room.fork(), room.fork()
        ban = one.member(BOB, "ban", ALICE)
        two.member(BOB, "join", displayname="Bobby")
        assert resolved(room, one, two)[member(BOB)] == ban

    def test_demotion_beats_what_the_demoted_did_meanwhile(self, version: str) -> None:
        room = powered_room(version)
        one, two = room.fork(), room.fork()
        demotion = one.power(ALICE, {**creator(version), BOB: 0})
        two.member(CAROL, "ban", BOB)
        two.power(BOB, {**creator(version), BOB: 50, CAROL: 50})
        state = resolved(room, one, two)
        assert state[POWER] == demotion
        assert state[member(CAROL)].membership == "join"

    def test_weaker_ban_stands_when_the_stronger_did_not_contradict(self, version: str) -> None:
        room = powered_room(version)
        one, two = room.fork(), room.fork()
        power = one.power(ALICE, {**creator(version), BOB: 60})
        ban = two.member(CAROL, "ban", BOB)
        state = resolved(room, one, two)
        assert (state[POWER], state[member(CAROL)]) == (power, ban)

    def test_concurrent_power_levels_the_stronger_goes_first(self, version: str) -> None:
        room = powered_room(version)
        one, two = room.fork(), room.fork()
        by_alice = one.power(ALICE, {**creator(version), BOB: 50, CAROL: 10})
        by_bob = two.power(BOB, {**creator(version), BOB: 50, CAROL: 20})
        # Bob's, judged after Alice's, is still allowed, and so comes last.
        assert resolved(room, one, two)[POWER] == by_bob
        three = room.fork()
        locked = three.power(ALICE, {**creator(version), BOB: 40})
        assert resolved(room, two, three)[POWER] == locked
        assert by_alice.origin_server_ts < by_bob.origin_server_ts

    def test_mainline_before_time(self, version: str) -> None:
        room = powered_room(version)
        one, two = room.fork(), room.fork()
        one.send("m.room.topic", ALICE, {"topic": "under old power levels"}, "", ts=9_000_000)
        two.power(ALICE, {**creator(version), BOB: 55})
        newer = two.send("m.room.topic", BOB, {"topic": "under new power levels"}, "", ts=5)
        assert resolved(room, one, two)[TOPIC] == newer

    def test_join_rule_race(self, version: str) -> None:
        room = powered_room(version)
        one, two = room.fork(), room.fork()
        rules = one.join_rule("invite")
        two.member("@late:two", "join")
        state = resolved(room, one, two)
        assert state[RULES] == rules
        assert member("@late:two") not in state

    def test_three_branches(self, version: str) -> None:
        room = powered_room(version)
        one, two, three = room.fork(), room.fork(), room.fork()
        one.member(BOB, "leave", ALICE)
        two.send("m.room.topic", BOB, {"topic": "x"}, "")
        name = three.send("m.room.name", ALICE, {"name": "x"}, "")
        state = resolved(room, one, two, three)
        assert state[member(BOB)].membership == "leave"
        assert TOPIC not in state
        assert state["m.room.name", ""] == name

    def test_rejected_auth_events_are_not_used(self, version: str) -> None:
        room = powered_room(version)
        join = room.member("@dora:two", "join")
        room.power(ALICE, creator(version), events={"m.room.topic": 0})
        one, two = room.fork(), room.fork()
        one.send("m.room.topic", "@dora:two", {"topic": "x"}, "")
        topic = two.send("m.room.topic", "@dora:two", {"topic": "y"}, "")
        # Both topics rest on the join, so that it is in no auth difference, and none of the states has it.
        del one.state[member("@dora:two")], two.state[member("@dora:two")]
        assert resolved(room, one, two)[TOPIC] == topic
        assert TOPIC not in resolved(room, one, two, rejected={join.event_id})

    def test_missing_auth_chains_do_not_break_it(self, version: str) -> None:
        room = powered_room(version)
        one, two = room.fork(), room.fork()
        one.send("m.room.topic", ALICE, {"topic": "x"}, "")
        topic = two.send("m.room.topic", ALICE, {"topic": "y"}, "")
        room.events = {topic.event_id: topic}
        result = resolve(
            room.version, [one.ids(), two.ids()], lambda ids: {i: room.events[i] for i in ids if i in room.events}
        )
        assert set(room.ids().items()) <= set(result.items())


def old_and_new_rules(version: str) -> tuple[RoomBuilder, dict[StateKey, str], dict[StateKey, str]]:
    """Two joins of Bob from when the room was public, in states in which it is invite-only by now."""
    room = new_room(version)
    one, two = room.fork(), room.fork()
    one.member(BOB, "join", displayname="one")
    two.member(BOB, "join", displayname="two")
    room.join_rule("invite")
    states = [{**room.ids(), member(BOB): branch.ids()[member(BOB)]} for branch in (one, two)]
    return room, states[0], states[1]


def test_version_2_judges_by_unconflicted_state_that_came_later() -> None:
    room, one, two = old_and_new_rules("11")
    assert member(BOB) not in resolved(room, one, two)


def test_version_2_1_starts_from_nothing() -> None:
    room, one, two = old_and_new_rules("12")
    assert resolved(room, one, two)[member(BOB)].membership == "join"
    assert resolved(room, one, two)[RULES].content == {"join_rule": "invite"}


def reset_power_levels(version: str) -> tuple[RoomBuilder, RoomBuilder, RoomBuilder, Event, Event]:
    """One state rests on power levels (by Alice) that the other has lost, though its topic rests on them too."""
    room = new_room(version)
    room.member(BOB, "join")
    first = room.state[POWER]
    room.power(ALICE, {**creator(version), BOB: 90})
    one, two = room.fork(), room.fork()
    third = one.power(BOB, {**creator(version), BOB: 90}, ban=60)
    two.send("m.room.topic", ALICE, {"topic": "x"}, "")
    two.state[POWER] = first
    return room, one, two, first, third


def test_version_2_lacks_what_lies_between_conflicted_events() -> None:
    room, one, two, first, _ = reset_power_levels("11")
    assert resolved(room, one, two)[POWER] == first


def test_version_2_1_includes_the_conflicted_subgraph() -> None:
    room, one, two, _, third = reset_power_levels("12")
    assert resolved(room, one, two)[POWER] == third


class TestVersion1:
    def test_deepest_allowed_topic(self) -> None:
        room = powered_room("1")
        one, two = room.fork(), room.fork()
        one.send("m.room.topic", ALICE, {"topic": "shallow"}, "", ts=9_000_000)
        two.send("m.room.name", ALICE, {}, "")
        deep = two.send("m.room.topic", ALICE, {"topic": "deep"}, "", ts=5)
        assert resolved(room, one, two)[TOPIC] == deep

    def test_equal_depths_are_settled_by_hash(self) -> None:
        room = powered_room("1")
        one, two = room.fork(), room.fork()
        topics = [branch.send("m.room.topic", ALICE, {"topic": "x"}, "") for branch in (one, two)]
        expected = min(topics, key=lambda event: sha1(event.event_id.encode(), usedforsecurity=False).hexdigest())
        assert resolved(room, one, two)[TOPIC] == expected

    def test_topic_of_the_banned_is_passed_over(self) -> None:
        room = powered_room("1")
        one, two = room.fork(), room.fork()
        one.send("m.room.name", ALICE, {}, "")
        ban = one.member(BOB, "ban", ALICE)
        topic = one.send("m.room.topic", ALICE, {"topic": "x"}, "")
        for _ in range(5):
            two.send("m.room.topic", BOB, {"topic": "y"}, "")
        state = resolved(room, one, two)
        assert (state[member(BOB)], state[TOPIC]) == (ban, topic)

    def test_an_entry_only_one_state_has_is_no_conflict(self) -> None:
        room = powered_room("1")
        one, two = room.fork(), room.fork()
        one.member(BOB, "ban", ALICE)
        topic = two.send("m.room.topic", BOB, {"topic": "x"}, "")
        assert resolved(room, one, two)[TOPIC] == topic

    def test_power_levels_go_on_while_they_are_allowed(self) -> None:
        room = powered_room("1")
        one, two = room.fork(), room.fork()
        one.power(ALICE, {ALICE: 100, BOB: 50, CAROL: 1})
        deeper = one.power(ALICE, {ALICE: 100, BOB: 50, CAROL: 2})
        shallow = two.power(BOB, {ALICE: 100, BOB: 50, CAROL: 3})
        assert resolved(room, one, two)[POWER] == deeper
        demoting = room.fork()
        lowered = demoting.power(ALICE, {ALICE: 100, BOB: 0})
        two.send("m.room.name", ALICE, {}, "")
        deeper_by_bob = two.power(BOB, {ALICE: 100, BOB: 50, CAROL: 4})
        assert shallow.depth == lowered.depth < deeper_by_bob.depth
        assert resolved(room, demoting, two)[POWER] == lowered

    def test_power_levels_end_with_the_first_that_is_not_allowed(self) -> None:
        room = powered_room("1")
        one, two, three = room.fork(), room.fork(), room.fork()
        lowered = one.power(ALICE, {ALICE: 100, BOB: 0})
        two.send("m.room.name", ALICE, {}, "")
        by_bob = two.power(BOB, {ALICE: 100, BOB: 50, CAROL: 4})
        three.send("m.room.name", ALICE, {}, "")
        three.send("m.room.name", ALICE, {}, "")
        by_alice = three.power(ALICE, {ALICE: 100, BOB: 10})
        assert lowered.depth < by_bob.depth < by_alice.depth
        assert resolved(room, one, two, three)[POWER] == lowered
        assert resolved(room, one, three)[POWER] == by_alice

    def test_when_no_candidate_is_allowed_the_shallowest_stays(self) -> None:
        room = powered_room("1")
        one, two = room.fork(), room.fork()
        shallow = one.send("m.room.topic", BOB, {"topic": "x"}, "")
        two.send("m.room.name", BOB, {}, "")
        two.send("m.room.topic", BOB, {"topic": "y"}, "")
        ban = room.member(BOB, "ban", ALICE)
        one.state[member(BOB)] = two.state[member(BOB)] = ban
        assert resolved(room, one, two)[TOPIC] == shallow


def test_loads_in_batches() -> None:
    room = powered_room("10")
    one, two = room.fork(), room.fork()
    for number in range(50):
        one.member(f"@one{number}:one", "join")
        two.member(f"@two{number}:two", "join")
    calls: list[int] = []

    def load(event_ids: Collection[str]) -> dict[str, Event]:
        calls.append(len(event_ids))
        return {event_id: room.events[event_id] for event_id in event_ids}

    state = resolve(room.version, [one.ids(), two.ids()], load)
    assert len(state) == len(room.state) + 100
    assert len(calls) <= 12
    assert sum(calls) <= len(room.events)
