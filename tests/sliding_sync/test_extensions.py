"""Extensions: messages to the device, keys, account data, receipts and typing, each only where it is asked for."""

from __future__ import annotations

import asyncio
from typing import Any

from server_kit import Server, User
from sliding_sync.conversation import Sliding, listing

from homeserver.testing import path_of

ON = {"enabled": True}


async def send_to(sender: User, receiver: User, text: str) -> None:
    content = {receiver.user_id: {receiver.device_id: {"text": text}}}
    await sender.call("PUT", path_of("sendToDevice", "org.example.note", text), {"messages": content})


def notes(answer: Any) -> list[str]:
    return [event["content"]["text"] for event in answer["extensions"]["to_device"]["events"]]


async def test_messages_to_the_device_have_a_token_of_their_own(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    await send_to(alice, bob, "one")
    keys = Sliding(bob, "encryption", extensions={"to_device": ON})
    first = await keys.sync()
    assert notes(first) == ["one"]
    # The connection was lost, the token for messages was not.
    keys.pos = None
    since = first["extensions"]["to_device"]["next_batch"]
    assert notes(await keys.sync(extensions={"to_device": ON})) == ["one"]
    keys.pos = None
    assert notes(await keys.sync(extensions={"to_device": {**ON, "since": since}})) == []
    waiting = asyncio.create_task(keys.sync(10_000))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await send_to(alice, bob, "two")
    assert notes(await asyncio.wait_for(waiting, 5)) == ["two"]


async def test_device_lists_follow_whom_one_shares_rooms_with(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    keys = Sliding(alice, "encryption", extensions={"e2ee": ON})
    first = (await keys.sync())["extensions"]["e2ee"]
    assert first["device_one_time_keys_count"] == {"signed_curve25519": 0}
    assert "device_lists" not in first
    await bob.join(room_id)
    assert (await keys.sync())["extensions"]["e2ee"]["device_lists"] == {"changed": [bob.user_id], "left": []}
    await alice.say(room_id, "hello")
    assert "device_lists" not in (await keys.sync())["extensions"]["e2ee"]
    await bob.leave(room_id)
    assert (await keys.sync())["extensions"]["e2ee"]["device_lists"] == {"changed": [], "left": [bob.user_id]}
    await bob.join(room_id)
    await alice.leave(room_id)
    assert (await keys.sync())["extensions"]["e2ee"]["device_lists"] == {"changed": [], "left": [bob.user_id]}
    await alice.join(room_id)
    assert bob.user_id in (await keys.sync())["extensions"]["e2ee"]["device_lists"]["changed"]


async def test_account_data_of_the_user_and_of_the_rooms_looked_at(server: Server) -> None:
    (alice,) = await server.users("alice")
    seen, unseen = await alice.create_room(), await alice.create_room()
    for room_id in (seen, unseen):
        await alice.call("PUT", path_of("user", alice.user_id, "rooms", room_id, "account_data", "m.a"), {"n": 1})
    phone = Sliding(alice, room_subscriptions={seen: {"timeline_limit": 1}}, extensions={"account_data": ON})
    first = (await phone.sync())["extensions"]["account_data"]
    assert "m.push_rules" in {event["type"] for event in first["global"]}
    assert first["rooms"] == {seen: [{"type": "m.a", "content": {"n": 1}}]}
    assert (await phone.sync())["extensions"] == {}
    for room_id in (seen, unseen):
        await alice.call("PUT", path_of("user", alice.user_id, "rooms", room_id, "account_data", "m.a"), {"n": 2})
    await alice.call("PUT", path_of("user", alice.user_id, "account_data", "m.b"), {"n": 3})
    news = await phone.sync()
    assert news["rooms"] == {}
    assert news["extensions"]["account_data"] == {
        "global": [{"type": "m.b", "content": {"n": 3}}],
        "rooms": {seen: [{"type": "m.a", "content": {"n": 2}}]},
    }
    both = {room_id: {"timeline_limit": 1} for room_id in (seen, unseen)}
    found = (await phone.sync(room_subscriptions=both))["extensions"]["account_data"]
    assert found["rooms"] == {unseen: [{"type": "m.a", "content": {"n": 2}}]}


async def test_account_data_of_a_room_that_was_out_of_sight(server: Server) -> None:
    (alice,) = await server.users("alice")
    first, second = await alice.create_room(), await alice.create_room()
    phone = Sliding(alice, lists={"all": listing((0, 1))}, extensions={"account_data": ON})
    await phone.sync()
    await phone.sync(lists={"all": listing((0, 0))})
    await alice.call("PUT", path_of("user", alice.user_id, "rooms", first, "account_data", "m.a"), {"n": 1})
    assert (await phone.sync())["extensions"] == {}
    await alice.say(second, "time goes by")
    await phone.sync()
    found = await phone.sync(lists={"all": listing((0, 1))})
    assert found["extensions"]["account_data"]["rooms"] == {first: [{"type": "m.a", "content": {"n": 1}}]}


async def test_receipts_at_first_of_what_is_shown_then_all_that_move(server: Server) -> None:
    alice, bob, carol = await server.users("alice", "bob", "carol")
    room_id = await alice.create_room(preset="public_chat")
    for other in (bob, carol):
        await other.join(room_id)
    old = await alice.say(room_id, "old")
    new = await alice.say(room_id, "new")
    await bob.read(room_id, old)
    await carol.read(room_id, new)
    phone = Sliding(alice, lists={"all": listing((0, 9), limit=1)}, extensions={"receipts": ON})
    first = (await phone.sync())["extensions"]["receipts"]["rooms"][room_id]
    assert first["type"] == "m.receipt"
    assert {event_id: set(by["m.read"]) for event_id, by in first["content"].items()} == {new: {carol.user_id}}
    await bob.read(room_id, new)
    answer = await phone.sync()
    assert answer["rooms"] == {}
    assert set(answer["extensions"]["receipts"]["rooms"][room_id]["content"][new]["m.read"]) == {bob.user_id}
    assert (await phone.sync())["extensions"] == {}


async def test_private_receipts_stay_private(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    said = await alice.say(room_id, "hello")
    phones = [Sliding(user, lists={"all": listing((0, 9))}, extensions={"receipts": ON}) for user in (alice, bob)]
    for phone in phones:
        await phone.sync()
    await bob.read(room_id, said, "m.read.private")
    of_alice, of_bob = [(await phone.sync())["extensions"] for phone in phones]
    assert of_alice == {}
    assert set(of_bob["receipts"]["rooms"][room_id]["content"][said]) == {"m.read.private"}


async def test_typing_wakes_and_ends(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    phone = Sliding(alice, lists={"all": listing((0, 9))}, extensions={"typing": ON})
    assert (await phone.sync())["extensions"] == {}
    waiting = asyncio.create_task(phone.sync(10_000))
    await asyncio.sleep(0.05)
    path = path_of("rooms", room_id, "typing", bob.user_id)
    await bob.call("PUT", path, {"typing": True, "timeout": 20_000})
    typing = (await asyncio.wait_for(waiting, 5))["extensions"]["typing"]["rooms"]
    assert typing == {room_id: {"type": "m.typing", "content": {"user_ids": [bob.user_id]}}}
    await bob.call("PUT", path, {"typing": False})
    typing = (await phone.sync())["extensions"]["typing"]["rooms"]
    assert typing[room_id]["content"] == {"user_ids": []}


async def test_extensions_keep_to_the_lists_and_rooms_they_name(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    rooms = []
    for _ in range(3):
        rooms.append(await alice.create_room(preset="public_chat"))
        await bob.join(rooms[-1])
    for room_id in rooms:
        await bob.call("PUT", path_of("rooms", room_id, "typing", bob.user_id), {"typing": True, "timeout": 20_000})

    async def typing_in(**wanted: Any) -> set[str]:
        phone = Sliding(
            alice,
            lists={"newest": listing((0, 0))},
            room_subscriptions={room_id: {"timeline_limit": 1} for room_id in rooms[:2]},
            extensions={"typing": {"enabled": True, **wanted}},
        )
        return set((await phone.sync())["extensions"].get("typing", {"rooms": ()})["rooms"])

    assert await typing_in() == set(rooms)
    assert await typing_in(lists=["newest"], rooms=[]) == {rooms[2]}
    assert await typing_in(lists=[], rooms=["*"]) == set(rooms[:2])
    assert await typing_in(lists=[], rooms=[rooms[0], rooms[2]]) == {rooms[0]}


async def test_what_is_enabled_later_is_told_from_its_beginning(server: Server) -> None:
    (alice,) = await server.users("alice")
    room_id = await alice.create_room()
    await alice.call("PUT", path_of("user", alice.user_id, "rooms", room_id, "account_data", "m.a"), {"n": 1})
    phone = Sliding(alice, lists={"all": listing((0, 9))})
    assert (await phone.sync())["extensions"] == {}
    found = (await phone.sync(extensions={"account_data": ON}))["extensions"]["account_data"]
    assert found["rooms"] == {room_id: [{"type": "m.a", "content": {"n": 1}}]}
    assert "m.push_rules" in {event["type"] for event in found["global"]}
