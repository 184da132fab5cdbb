"""The requests of Element X, in the order in which its library sends them: the room list, then the encryption loop."""

from __future__ import annotations

import asyncio
from typing import Any

from server_kit import Server
from sliding_sync.conversation import Sliding, bodies, state_of

STATE = [
    ["m.room.name", ""],
    ["m.room.encryption", ""],
    ["m.room.member", "$LAZY"],
    ["m.room.member", "$ME"],
    ["m.room.topic", ""],
    ["m.room.avatar", ""],
    ["m.room.canonical_alias", ""],
    ["m.room.power_levels", ""],
    ["org.matrix.msc3401.call.member", "*"],
    ["m.room.join_rules", ""],
    ["m.room.tombstone", ""],
    ["m.room.create", ""],
    ["m.room.history_visibility", ""],
    ["io.element.functional_members", ""],
    ["m.space.parent", "*"],
    ["m.space.child", "*"],
    ["org.matrix.msc3672.beacon_info", "*"],
]
ON = {"enabled": True}
EXTENSIONS = {
    "account_data": ON,
    "receipts": {"enabled": True, "rooms": ["*"]},
    "typing": ON,
    "thread_subscriptions": {"enabled": False, "limit": 10},
}


def all_rooms(last: int) -> dict[str, Any]:
    return {
        "all_rooms": {
            "ranges": [[0, last]],
            "timeline_limit": 1,
            "required_state": STATE,
            "filters": {"not_room_types": ["m.space"]},
        }
    }


async def test_the_room_list_grows_while_the_encryption_loop_runs_beside_it(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    rooms = []
    for number in range(25):
        rooms.append(await alice.create_room(preset="public_chat", name=f"room {number}"))
        await bob.join(rooms[-1])
    await alice.say(rooms[0], "the newest of all")
    space = await bob.create_room(creation_content={"type": "m.space"})

    encryption = Sliding(bob, "encryption", extensions={"e2ee": ON, "to_device": ON})
    first = await encryption.sync()
    assert (first["rooms"], first["lists"]) == ({}, {})
    assert {"e2ee", "to_device"} == set(first["extensions"])
    loop = asyncio.create_task(encryption.sync(20_000))

    room_list = Sliding(bob, "room-list", lists=all_rooms(19), extensions=EXTENSIONS)
    start = await room_list.sync()
    assert start["lists"]["all_rooms"]["count"] == 25
    assert set(start["rooms"]) == {rooms[0], *rooms[6:]}
    room = start["rooms"][rooms[0]]
    assert bodies(room) == ["the newest of all"]
    assert {("m.room.create", ""), ("m.room.member", bob.user_id), ("m.room.member", alice.user_id)} <= state_of(room)
    grown = await room_list.sync(lists=all_rooms(99))
    assert set(grown["rooms"]) == set(rooms[1:6])
    assert space not in start["rooms"] | grown["rooms"]
    assert (await room_list.sync(lists=all_rooms(99)))["rooms"] == {}

    # A room is opened: its history comes at once.
    for number in range(3):
        await alice.say(rooms[1], str(number))
    opened = {
        rooms[1]: {"timeline_limit": 20, "required_state": [*STATE, ["m.room.pinned_events", ""]]},
    }
    room = (await room_list.sync(4_000, room_subscriptions=opened))["rooms"][rooms[1]]
    assert bodies(room) == ["0", "1", "2"]
    assert room["unstable_expanded_timeline"] is True
    assert room["num_live"] == 3
    await alice.set_state(rooms[1], "m.room.pinned_events", {"pinned": []})
    room = (await room_list.sync(4_000))["rooms"][rooms[1]]
    assert ("m.room.pinned_events", "") in state_of(room)
    await alice.set_state(rooms[2], "m.room.pinned_events", {"pinned": []})
    assert state_of((await room_list.sync(4_000))["rooms"][rooms[2]]) == {("m.room.member", alice.user_id)}

    # The app comes back from the background with the token it had, and a small window again.
    await alice.say(rooms[9], "while away")
    back = await room_list.sync(lists=all_rooms(19), room_subscriptions={})
    assert {room_id: bodies(room) for room_id, room in back["rooms"].items()} == {rooms[9]: ["while away"]}
    assert "initial" not in back["rooms"][rooms[9]]
    assert (await room_list.sync(lists=all_rooms(99)))["rooms"] == {}

    assert not loop.done()
    content = {bob.user_id: {bob.device_id: {"text": "a key"}}}
    await alice.call("PUT", "/sendToDevice/m.room.encrypted/txn", {"messages": content})
    received = (await asyncio.wait_for(loop, 5))["extensions"]["to_device"]["events"]
    assert [event["content"] for event in received] == [{"text": "a key"}]


async def test_the_server_says_that_it_has_sliding_sync(server: Server) -> None:
    versions = (await server.client.get("/_matrix/client/versions")).json
    assert versions["unstable_features"]["org.matrix.simplified_msc3575"] is True
