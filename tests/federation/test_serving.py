"""What this server tells other servers of events, states and auth chains."""

from __future__ import annotations

from typing import Any

import pytest
from federation.network import Network
from federation.rooms import public_room
from federation.test_receive import hosted
from federation.visitor import visit

from homeserver.protocol.event_hashes import hash_and_sign
from homeserver.protocol.events import Event
from homeserver.testing import path_of

_V1, _V2 = "/_matrix/federation/v1", "/_matrix/federation/v2"


@pytest.mark.parametrize("version", ["1", "10", "12"])
async def test_events_states_and_auth_chains(network: Network, version: str) -> None:
    alpha, alice, eve = await hosted(network, version)
    topic = await alice.set_state(eve.room_id, "m.room.topic", {"topic": "one"})
    message = await alice.say(eve.room_id, "hello")

    async def get(*segments: str, query: str = "") -> Any:
        status, answer = await eve.fake.ask(alpha, "GET", (_V1 + path_of(*segments) + query).replace("$", "%24"))
        assert status == 200, answer
        return answer

    [pdu] = (await get("event", message))["pdus"]
    event = Event(pdu, eve.version)
    assert event.event_id == message
    assert event.prev_event_ids == (topic,)
    ids = await get("state_ids", eve.room_id, query=f"?event_id={topic}")
    assert topic not in ids["pdu_ids"]
    assert topic in (await get("state_ids", eve.room_id, query=f"?event_id={message}"))["pdu_ids"]
    state = await get("state", eve.room_id, query=f"?event_id={message}")
    held = {Event(one, eve.version).event_id for one in state["pdus"]}
    assert held == {*ids["pdu_ids"], topic}
    chain = (await get("event_auth", eve.room_id, message))["auth_chain"]
    types = {one["type"] for one in chain}
    assert {"m.room.member", "m.room.power_levels"} <= types
    assert ("m.room.create" in types) is eve.version.auth.create_event_is_selected
    page = (await get("backfill", eve.room_id, query=f"?v={message}&limit=3"))["pdus"]
    assert [Event(one, eve.version).event_id for one in page][:2] == [message, topic]
    assert len(page) == 3
    closest = await get("timestamp_to_event", eve.room_id, query="?ts=0&dir=f")
    assert closest["event_id"] in {Event(one, eve.version).event_id for one in state["pdus"]}


async def test_missing_events_are_walked_breadth_first(network: Network) -> None:
    alpha, alice, eve = await hosted(network)
    said = [await alice.say(eve.room_id, str(number)) for number in range(15)]
    path = _V1 + path_of("get_missing_events", eve.room_id)

    async def ask(**body: Any) -> list[str]:
        status, answer = await eve.fake.ask(alpha, "POST", path, body)
        assert status == 200, answer
        return [Event(one, eve.version).event_id for one in answer["events"]]

    assert await ask(earliest_events=[said[2]], latest_events=[said[7]], limit=10) == said[3:7]
    assert await ask(earliest_events=[], latest_events=[said[14]], limit=4) == said[10:14]
    depth = await room_depth(alpha, said[12])
    assert await ask(earliest_events=[], latest_events=[said[14]], limit=10, min_depth=depth) == said[12:14]


async def room_depth(alpha: Any, event_id: str) -> int:
    stored = await alpha.homeserver.rooms.events.find(event_id)
    return int(stored.event.depth)


async def test_servers_outside_of_the_room_get_nothing(network: Network) -> None:
    alpha, alice, eve = await hosted(network)
    message = await alice.say(eve.room_id, "hello")
    stranger = await network.add_fake("stranger.test")
    for segments, query in (
        (("event", message), ""),
        (("state", eve.room_id), f"?event_id={message}"),
        (("state_ids", eve.room_id), f"?event_id={message}"),
        (("event_auth", eve.room_id, message), ""),
        (("backfill", eve.room_id), f"?v={message}&limit=10"),
    ):
        status, answer = await stranger.ask(alpha, "GET", (_V1 + path_of(*segments) + query).replace("$", "%24"))
        assert (status, answer["errcode"]) == (403, "M_FORBIDDEN"), segments


async def test_what_a_server_may_not_see_is_redacted(network: Network) -> None:
    alpha = await network.add("alpha.test")
    alice = await alpha.user("alice")
    hidden = {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "joined"}}
    room_id = await public_room(alice, initial_state=[hidden])
    before = await alice.say(room_id, "before you came")
    eve = await visit(network, alpha, room_id)
    after = await alice.say(room_id, "after you came")
    for event_id, content in ((before, {}), (after, {"msgtype": "m.text", "body": "after you came"})):
        _, answer = await eve.fake.ask(alpha, "GET", (_V1 + path_of("event", event_id)).replace("$", "%24"))
        assert answer["pdus"][0]["content"] == content


async def test_a_join_with_few_members(network: Network) -> None:
    alpha, _alice, eve = await hosted(network, name="Named")
    fake = await network.add_fake("light.test")
    user_id = "@luz:light.test"
    _, template = await fake.ask(alpha, "GET", _V1 + path_of("make_join", eve.room_id, user_id) + "?ver=12")
    signed, event_id = hash_and_sign(template["event"], eve.version, fake.name, fake.key)
    path = _V2 + path_of("send_join", eve.room_id, event_id) + "?omit_members=true"
    status, answer = await fake.ask(alpha, "PUT", path, signed)
    assert status == 200
    assert answer["members_omitted"] is True
    assert "m.room.member" not in {one["type"] for one in answer["state"]}
    assert set(answer["servers_in_room"]) == {"alpha.test", "eve.test"}


async def test_room_versions_must_be_known_to_both(network: Network) -> None:
    alpha, _, eve = await hosted(network)
    path = _V1 + path_of("make_join", eve.room_id, eve.user_id)
    status, answer = await eve.fake.ask(alpha, "GET", path + "?ver=1&ver=11")
    assert (status, answer["errcode"], answer["room_version"]) == (400, "M_INCOMPATIBLE_ROOM_VERSION", "12")
    status, answer = await eve.fake.ask(alpha, "GET", path)
    assert answer["errcode"] == "M_INCOMPATIBLE_ROOM_VERSION"
