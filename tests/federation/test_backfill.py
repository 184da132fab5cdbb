"""History from before a server came, as far as it may be seen."""

from __future__ import annotations

import pytest
from federation.network import Network
from federation.rooms import VERSIONS, join_via, public_room, said, sees_member, two_servers

from homeserver.testing import path_of


@pytest.mark.parametrize("version", ["1", *VERSIONS])
async def test_the_whole_history_is_fetched_page_by_page(network: Network, version: str) -> None:
    alpha, beta = await two_servers(network)
    alice, bob = await alpha.user("alice"), await beta.user("bob")
    room_id = await public_room(alice, version)
    for number in range(60):
        await alice.say(room_id, str(number))
        if number % 10 == 0:
            await alice.set_state(room_id, "m.room.topic", {"topic": str(number)})
    await join_via(bob, room_id, alpha)
    texts: list[str] = []
    start: dict[str, str] = {}
    types = set()
    for _ in range(30):
        page = await bob.messages(room_id, dir="b", limit="10", **start)
        texts += [event["content"]["body"] for event in page["chunk"] if event["type"] == "m.room.message"]
        types |= {event["type"] for event in page["chunk"]}
        if "end" not in page:
            break
        start = {"from": page["end"]}
    assert texts[::-1] == [str(number) for number in range(60)]
    assert "m.room.create" in types
    # The state at old events is known: a page of context shows it.
    old = list((await bob.messages(room_id, dir="f", limit="40"))["chunk"])
    target = next(event["event_id"] for event in old if event["content"].get("body") == "15")
    context = await bob.call("GET", path_of("rooms", room_id, "context", target), limit="0")
    topics = [event["content"]["topic"] for event in context["state"] if event["type"] == "m.room.topic"]
    assert topics == ["10"]


async def test_members_do_not_see_what_was_before_their_time(network: Network) -> None:
    alpha, beta = await two_servers(network)
    alice, bob = await alpha.user("alice"), await beta.user("bob")
    room_id = await public_room(
        alice,
        initial_state=[
            {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "joined"}}
        ],
    )
    await alice.say(room_id, "secret")
    await join_via(bob, room_id, alpha)
    await sees_member(alice, room_id, bob.user_id, "join")
    await bob.say(room_id, "what did I miss?")
    assert await said(bob, room_id) == ["what did I miss?"]
    # Nor does the server itself get to know.
    stored = [
        await beta.homeserver.rooms.events.find(event["event_id"])
        for event in (await alice.messages(room_id, dir="f", limit="100"))["chunk"]
        if event["content"].get("body") == "secret"
    ]
    assert len(stored) == 1
    assert stored[0] is None or stored[0].event.content == {}


async def test_nothing_is_there_when_the_others_are_away(network: Network) -> None:
    alpha, beta = await two_servers(network)
    alice, bob = await alpha.user("alice"), await beta.user("bob")
    room_id = await public_room(alice)
    await alice.say(room_id, "before")
    await join_via(bob, room_id, alpha)
    await alpha.hang_up()
    assert await said(bob, room_id) == []
    await alpha.listen()


async def test_dates_before_this_server_came(network: Network) -> None:
    alpha, beta = await two_servers(network)
    alice, bob = await alpha.user("alice"), await beta.user("bob")
    room_id = await public_room(alice)
    first = await alice.say(room_id, "first")
    sent_ms = (await alice.call("GET", path_of("rooms", room_id, "event", first)))["origin_server_ts"]
    for number in range(30):
        await alice.say(room_id, str(number))
    await join_via(bob, room_id, alpha)
    path = "/_matrix/client/v1" + path_of("rooms", room_id, "timestamp_to_event")
    for direction in ("f", "b"):
        at = sent_ms if direction == "f" else sent_ms + 10**9
        answer = await bob.client.request("GET", path, query={"ts": str(at), "dir": direction})
        assert answer.status == 200
        if direction == "f":
            assert answer.json["origin_server_ts"] == sent_ms
            # The history down to there is here now.
            assert "events_before" in await bob.call(
                "GET", path_of("rooms", room_id, "context", answer.json["event_id"])
            )
        else:
            assert answer.json["origin_server_ts"] > sent_ms
    far = await bob.client.request("GET", path, query={"ts": str(10**15), "dir": "f"})
    assert far.status == 404
