"""A server that lies in every way it can think of: whatever it sends, the room's state stays as it was."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from federation.network import FederatedServer, Network
from federation.rooms import public_room, room_of, said
from federation.test_receive import standing
from federation.visitor import Visitor, visit
from server_kit import User

from homeserver.protocol.event_builder import EventDraft, build_event
from homeserver.protocol.event_hashes import add_signature
from homeserver.protocol.events import Event
from homeserver.protocol.receipt import Standing
from homeserver.protocol.signing import SigningKey
from homeserver.testing import path_of

_V1, _V2 = "/_matrix/federation/v1", "/_matrix/federation/v2"


class Scene:
    """A room, its owner, and a visitor up to no good. At the end the state must be what it was."""

    def __init__(self, alpha: FederatedServer, alice: User, eve: Visitor, state: dict[Any, str]) -> None:
        self.alpha, self.alice, self.eve, self.state = alpha, alice, eve, state

    async def dropped(self, *pdus: Event | dict[str, Any]) -> None:
        """Send PDUs that must all be answered with an error, and of which nothing may stay."""
        results = await self.eve.send(*pdus)
        assert all("error" in result for result in results.values()), results
        for event_id in results:
            assert await standing(self.alpha, event_id) is None

    async def rejected(self, *events: Event) -> None:
        """Send events that must all be rejected."""
        results = await self.eve.send(*events)
        assert results == {event.event_id: {} for event in events}
        for event in events:
            assert await standing(self.alpha, event.event_id) is Standing.REJECTED


@pytest.fixture(params=["1", "6", "10", "12"])
async def scene(network: Network, request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    alpha = await network.add("alpha.test")
    alice = await alpha.user("alice")
    room_id = await public_room(alice, request.param)
    eve = await visit(network, alpha, room_id)
    room = await room_of(alpha, room_id)
    kept = Scene(alpha, alice, eve, dict(room.state))
    yield kept
    room = await room_of(alpha, room_id)
    assert room.state == kept.state
    assert not any(await said(alice, room_id))
    await alice.say(room_id, "still standing")


async def test_wrong_signatures(scene: Scene) -> None:
    eve = scene.eve
    good = eve.make("m.room.message", {"body": "good"})
    other_key = SigningKey("fake", bytes(32))
    signatures: list[Any] = [
        {},
        {eve.fake.name: {}},
        {eve.fake.name: {"ed25519:fake": "AAAA"}},
        {eve.fake.name: {"ed25519:unknown": good.pdu["signatures"][eve.fake.name]["ed25519:fake"]}},
        {eve.fake.name: "no object"},
        {"alpha.test": good.pdu["signatures"][eve.fake.name]},
        _signed_with(good, eve.fake.name, other_key).pdu["signatures"],
    ]
    for one in signatures:
        await scene.dropped({**good.pdu, "signatures": one})


def _signed_with(event: Event, name: str, key: SigningKey) -> Event:
    pdu = add_signature({**event.pdu, "signatures": {}}, event.room_version, name, key)
    return Event(pdu, event.room_version, event.event_id)


async def test_a_forged_sender(scene: Scene) -> None:
    eve = scene.eve
    forged = eve.make("m.room.name", {"name": "by alice, as if"}, "", sender=scene.alice.user_id)
    await scene.dropped(forged)
    if eve.version.identifier != "1":
        return
    # The server of the event ID has to sign too.
    await scene.dropped({**eve.make("m.room.message", {"body": "x"}).pdu, "event_id": "$mine:alpha.test"})


async def test_a_changed_content_is_redacted(scene: Scene) -> None:
    eve = scene.eve
    honest = eve.make("m.room.message", {"msgtype": "m.text", "body": "honest"})
    changed = {**honest.pdu, "content": {"msgtype": "m.text", "body": "changed"}}
    assert await eve.send(changed) == {honest.event_id: {}}
    stored = await scene.alpha.homeserver.rooms.events.find(honest.event_id)
    assert stored is not None
    assert stored.event.content == {}
    shown = await scene.alice.messages(eve.room_id, dir="b")
    assert "changed" not in str(shown)


async def test_events_of_no_format(scene: Scene) -> None:
    eve = scene.eve
    good = eve.make("m.room.message", {"body": "good"}).pdu
    for key, value in [
        ("depth", -1),
        ("depth", 2**63),
        ("depth", "5"),
        ("content", []),
        ("sender", "eve"),
        ("type", None),
        ("origin_server_ts", "now"),
        ("prev_events", "x"),
        ("prev_events", good["prev_events"] * 21),
        ("auth_events", good["auth_events"] * 11),
        ("auth_events", [{}]),
        ("room_id", "!other:alpha.test"),
        ("state_key", 1),
        ("unsigned", 1),
        ("signatures", 1),
        ("hashes", None),
    ]:
        results = await eve.send({**good, key: value})
        assert all("error" in result for result in results.values()), key
    await eve.send(*[{}, {"room_id": 5}, {"room_id": eve.room_id}])


async def test_oversized_events(scene: Scene) -> None:
    eve = scene.eve
    await scene.dropped(eve.make("m.room.message", {"body": "x" * 70_000}))
    await scene.dropped(eve.make("m." + "x" * 300, {}))
    await scene.dropped(eve.make("m.room.topic", {}, "x" * 300))


async def test_an_event_too_deep(scene: Scene) -> None:
    """The depth is the sender's word: the largest there is may come, and nobody stumbles over it."""
    eve = scene.eve
    limit = eve.version.event_format.max_depth
    if eve.version.event_format.strict_canonical_json:
        refused = eve.make("m.room.message", {"body": "deep"})
        await scene.dropped({**refused.pdu, "depth": limit + 1})
    deepest = eve.make("m.room.topic", {"topic": "deep"}, "", depth=limit)
    await scene.rejected(deepest)


async def test_events_that_follow_on_each_other_or_on_nothing(scene: Scene) -> None:
    eve = scene.eve
    await scene.dropped(eve.make("m.room.message", {"body": "rootless"}, after=[]))
    if eve.version.identifier != "1":
        return
    one, two = "$one:eve.test", "$two:eve.test"
    itself = eve.make("m.room.topic", {"topic": "x"}, "", event_id=one, prev_events=[[one, {"sha256": ""}]])
    await scene.dropped(itself)
    first = eve.make("m.room.topic", {"topic": "x"}, "", event_id=one, prev_events=[[two, {"sha256": ""}]])
    second = eve.make("m.room.topic", {"topic": "x"}, "", event_id=two, prev_events=[[one, {"sha256": ""}]])
    eve.serve("get_missing_events", {"events": [second.pdu, first.pdu]}, method="POST")
    await eve.send(first, second)
    await eve.send(first)
    await eve.send(second)


async def test_unknown_prev_events_that_nobody_has(scene: Scene) -> None:
    eve = scene.eve
    unknown = eve.make("m.room.message", {"body": "never sent"})
    following = eve.make("m.room.topic", {"topic": "x"}, "", after=[unknown])
    await scene.dropped(following)


async def test_unknown_auth_events(scene: Scene) -> None:
    eve = scene.eve
    invented = eve.make("m.room.power_levels", {"users": {eve.user_id: 100}}, "")
    own = [event for event in _auth(eve) if event.type != "m.room.power_levels"]
    event = eve.make("m.room.topic", {"topic": "x"}, "", auth_events=[*own, invented])
    await scene.dropped(event)
    # Handing the invented event over does not help: it is not allowed either.
    eve.serve("event_auth", {"auth_chain": [invented.pdu]}, event_id=f"{eve.room_id}/{event.event_id}")
    await scene.dropped(event)
    results = await eve.send(invented, event)
    assert await standing(scene.alpha, invented.event_id) is Standing.REJECTED
    assert results[invented.event_id] == {}
    assert await standing(scene.alpha, event.event_id) in {None, Standing.REJECTED}


async def test_auth_events_that_do_not_belong(scene: Scene) -> None:
    eve = scene.eve
    member = eve.state[("m.room.member", eve.user_id)]
    rules = eve.state[("m.room.join_rules", "")]
    await scene.rejected(eve.make("m.room.message", {"body": "extra"}, auth_events=[*_auth(eve), rules]))
    await scene.rejected(eve.make("m.room.message", {"body": "twice"}, auth_events=[*_auth(eve), member]))
    await scene.rejected(eve.make("m.room.message", {"body": "none"}, auth_events=[]))


def _auth(eve: Visitor) -> list[Event]:
    keys = [("m.room.power_levels", ""), ("m.room.member", eve.user_id)]
    if eve.version.auth.create_event_is_selected:
        keys.append(("m.room.create", ""))
    return [eve.state[key] for key in keys]


async def test_grabbing_power(scene: Scene) -> None:
    eve, alice = scene.eve, scene.alice
    await scene.rejected(
        eve.make("m.room.power_levels", {"users": {eve.user_id: 100}}, ""),
        eve.make("m.room.member", {"membership": "ban"}, alice.user_id),
        eve.make("m.room.member", {"membership": "leave"}, alice.user_id),
        eve.make("m.room.join_rules", {"join_rule": "invite"}, ""),
        eve.make("m.room.history_visibility", {"history_visibility": "world_readable"}, ""),
    )


async def test_another_create_event(scene: Scene) -> None:
    eve = scene.eve
    content = {"room_version": eve.version.identifier, "creator": eve.user_id}
    draft = EventDraft(None if eve.room_id.count(":") == 0 else eve.room_id, "m.room.create", eve.user_id, content, "")
    create = build_event(
        draft,
        eve.version,
        prev_events=[],
        auth_events=[],
        origin_server_ts=1,
        server_name=eve.fake.name,
        signing_key=eve.fake.key,
        event_localpart="create",
    )
    await eve.send(create)
    assert await standing(scene.alpha, create.event_id) is None


async def test_a_false_state_of_another_branch(scene: Scene) -> None:
    """The state after a missing event is what the other server says; what it made up does not survive in it."""
    eve = scene.eve
    invented = eve.make("m.room.power_levels", {"users": {eve.user_id: 100}}, "")
    hidden = eve.make("m.room.message", {"msgtype": "m.x"})
    on_it = eve.make("m.room.message", {"msgtype": "m.x"}, after=[hidden])
    eve.serve("get_missing_events", {"events": []}, method="POST")
    eve.serve_state({**eve.state, invented.key: invented})
    eve.serve_events(hidden, invented)
    await eve.send(on_it)
    levels = scene.state[("m.room.power_levels", "")]
    assert (await room_of(scene.alpha, eve.room_id)).state[("m.room.power_levels", "")] == levels
    stored = await scene.alpha.homeserver.rooms.events.find(invented.event_id)
    assert stored is None or stored.standing is Standing.REJECTED


async def test_events_of_a_room_that_is_not_here(scene: Scene) -> None:
    eve = scene.eve
    event = eve.make("m.room.message", {"body": "x"})
    elsewhere = {**event.pdu, "room_id": "!elsewhere:alpha.test"}
    assert await eve.send(elsewhere) == {}


async def test_handshakes_are_no_way_around_the_checks(scene: Scene) -> None:
    """What is sent as a join, a leave or a knock must be just that, by the sender's own server."""
    alpha, eve = scene.alpha, scene.eve
    wrong = [
        eve.make("m.room.topic", {"topic": "x"}, ""),
        eve.make("m.room.message", {"body": "x"}),
        eve.make("m.room.member", {"membership": "ban"}, scene.alice.user_id),
        eve.make("m.room.member", {"membership": "join"}, "@mallory:eve.test"),
        eve.make("m.room.member", {"membership": "join"}, scene.alice.user_id, sender=scene.alice.user_id),
    ]
    for event in wrong:
        for version, kind in ((_V2, "send_join"), (_V1, "send_join"), (_V2, "send_leave"), (_V1, "send_knock")):
            path = version + path_of(kind, eve.room_id, event.event_id)
            status, answer = await eve.fake.ask(alpha, "PUT", path, event.pdu)
            assert (status, answer["errcode"]) == (400, "M_INVALID_PARAM")
    status, _ = await eve.fake.ask(alpha, "GET", _V1 + path_of("make_join", eve.room_id, "@x:other.test"))
    assert status == 403
    join = eve.make("m.room.member", {"membership": "join", "displayname": "x"}, eve.user_id)
    path = _V2 + path_of("send_join", eve.room_id, "$another:eve.test")
    status, answer = await eve.fake.ask(alpha, "PUT", path, join.pdu)
    assert (status, answer["errcode"]) == (400, "M_INVALID_PARAM")


async def test_a_banned_server_gets_in_nowhere(scene: Scene) -> None:
    alpha, alice, eve = scene.alpha, scene.alice, scene.eve
    await alice.set_state(eve.room_id, "m.room.server_acl", {"allow": ["*"], "deny": ["*.test"]})
    scene.state = dict((await room_of(alpha, eve.room_id)).state)
    event = eve.make("m.room.message", {"body": "let me"})
    results = await eve.send(event)
    assert "not allowed" in results[event.event_id]["error"]
    room, user = eve.room_id, eve.user_id
    last = eve.tips[0].event_id
    asked: list[tuple[str, str, Any]] = [
        ("GET", _V1 + path_of("make_join", room, user) + "?ver=1&ver=6&ver=10&ver=12", None),
        ("GET", _V1 + path_of("make_leave", room, user), None),
        ("GET", _V1 + path_of("make_knock", room, user) + "?ver=12", None),
        ("PUT", _V1 + path_of("send_join", room, last), {}),
        ("PUT", _V2 + path_of("send_join", room, last), {}),
        ("PUT", _V1 + path_of("send_leave", room, last), {}),
        ("PUT", _V2 + path_of("send_leave", room, last), {}),
        ("PUT", _V1 + path_of("send_knock", room, last), {}),
        ("GET", _V1 + path_of("state", room) + f"?event_id={last}", None),
        ("GET", _V1 + path_of("state_ids", room) + f"?event_id={last}", None),
        ("GET", _V1 + path_of("backfill", room) + f"?v={last}&limit=10", None),
        ("GET", _V1 + path_of("event_auth", room, last), None),
        ("POST", _V1 + path_of("get_missing_events", room), {"earliest_events": [], "latest_events": [last]}),
    ]
    for method, target, body in asked:
        content = {} if body is None else {"content": body}
        status, answer = await eve.fake.ask(alpha, method, target.replace("$", "%24"), *content.values())
        assert (status, answer["errcode"]) == (403, "M_FORBIDDEN"), target
