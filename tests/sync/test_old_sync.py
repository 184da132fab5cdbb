"""The deprecated sync that small bots still speak: /initialSync, /events, and peeking into a room."""

from __future__ import annotations

import asyncio

from server_kit import Server

from homeserver.testing import path_of


async def test_everything_at_once_then_what_happens(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(name="Old friends", visibility="public")
    invited_to = await bob.create_room(invite=[alice.user_id])
    await alice.say(room_id, "before")
    first = await alice.call("GET", "/initialSync", limit="3")
    rooms = {room["room_id"]: room for room in first["rooms"]}
    joined = rooms[room_id]
    assert joined["membership"] == "join"
    assert joined["visibility"] == "public"
    assert joined["messages"]["chunk"][-1]["content"]["body"] == "before"
    assert len(joined["messages"]["chunk"]) == 3
    assert {"m.room.name", "m.room.create"} <= {event["type"] for event in joined["state"]}
    assert rooms[invited_to]["membership"] == "invite"
    assert rooms[invited_to]["invite"]["sender"] == bob.user_id

    waiting = asyncio.create_task(alice.call("GET", "/events", **{"from": first["end"], "timeout": "5000"}))
    await asyncio.sleep(0.05)
    event_id = await alice.say(room_id, "live")
    news = await waiting
    assert [(event["event_id"], event["room_id"]) for event in news["chunk"]] == [(event_id, room_id)]
    again = await alice.call("GET", "/events", **{"from": news["end"]})
    assert again["chunk"] == []


async def test_rooms_that_were_left_are_shown_on_request(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await bob.leave(room_id)
    assert (await bob.call("GET", "/initialSync"))["rooms"] == []
    (left,) = (await bob.call("GET", "/initialSync", archived="true"))["rooms"]
    assert (left["room_id"], left["membership"]) == (room_id, "leave")


async def test_one_room(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(preset="public_chat", topic="trains")
    event_id = await alice.say(room_id, "departing")
    await alice.read(room_id, event_id)
    path = path_of("rooms", room_id, "initialSync")
    info = await alice.call("GET", path, limit="2")
    assert info["membership"] == "join"
    assert [event["type"] for event in info["messages"]["chunk"]][-1] == "m.room.message"
    assert info["receipts"][0]["content"][event_id]["m.read"][alice.user_id]["ts"] > 0
    assert {"topic": "trains"} in [{"topic": event["content"].get("topic")} for event in info["state"]]
    older = await alice.messages(room_id, **{"from": info["messages"]["start"], "dir": "b"})
    assert event_id not in [event["event_id"] for event in older["chunk"]]
    refused = await bob.ask("GET", path)
    assert refused.status == 403


async def test_peeking_into_a_room_that_anybody_may_read(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(
        preset="public_chat",
        initial_state=[{"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}}],
    )
    start = (await bob.call("GET", "/events", room_id=room_id))["end"]
    waiting = asyncio.create_task(bob.call("GET", "/events", **{"room_id": room_id, "from": start, "timeout": "5000"}))
    await asyncio.sleep(0.05)
    await alice.say(room_id, "to the world")
    seen = await waiting
    assert [event["content"]["body"] for event in seen["chunk"]] == ["to the world"]
    after = await bob.call("GET", "/events", **{"room_id": room_id, "from": seen["end"]})
    assert after["chunk"] == []
    closed = await alice.create_room()
    assert (await bob.ask("GET", "/events", room_id=closed)).status == 403


async def test_one_event_wherever_it_is(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room()
    event_id = await alice.say(room_id, "here")
    found = await alice.call("GET", path_of("events", event_id))
    assert (found["event_id"], found["room_id"]) == (event_id, room_id)
    for nowhere in (event_id, "$nothing"):
        answer = await bob.ask("GET", path_of("events", nowhere))
        assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")


async def test_a_token_that_is_none_is_refused(server: Server) -> None:
    (alice,) = await server.users("alice")
    answer = await alice.ask("GET", "/events", **{"from": "nonsense"})
    assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")
