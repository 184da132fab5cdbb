"""Lists: which rooms are in which window, and what happens when windows move."""

from __future__ import annotations

import pytest
from server_kit import Server, User
from sliding_sync.conversation import Sliding, bodies, listing

from homeserver.testing import path_of


async def make_rooms(user: User, count: int) -> list[str]:
    """Rooms in the order in which something last happened in them."""
    return [await user.create_room(name=f"room {number}") for number in range(count)]


async def test_a_growing_window_sends_each_room_once(server: Server) -> None:
    (alice,) = await server.users("alice")
    rooms = await make_rooms(alice, 6)
    phone = Sliding(alice, lists={"all": listing((0, 1))})
    first = await phone.sync()
    assert first["lists"]["all"]["count"] == 6
    assert set(first["rooms"]) == set(rooms[4:])
    assert set((await phone.sync(lists={"all": listing((0, 3))}))["rooms"]) == set(rooms[2:4])
    assert set((await phone.sync(lists={"all": listing((0, 99))}))["rooms"]) == set(rooms[:2])
    assert (await phone.sync(lists={"all": listing()}))["rooms"] == {}


async def test_a_room_that_moves_into_the_window_comes_whole(server: Server) -> None:
    (alice,) = await server.users("alice")
    rooms = await make_rooms(alice, 4)
    phone = Sliding(alice, lists={"all": listing((0, 1), limit=1)})
    await phone.sync()
    await alice.say(rooms[0], "up")
    room = (await phone.sync())["rooms"]
    assert set(room) == {rooms[0]}
    assert (room[rooms[0]]["initial"], room[rooms[0]]["num_live"]) == (True, 1)


async def test_news_of_a_room_outside_the_window_come_when_it_is_looked_at_again(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    rooms = []
    for number in range(3):
        rooms.append(await alice.create_room(name=f"room {number}", preset="public_chat"))
        await bob.join(rooms[-1])
    phone = Sliding(alice, lists={"all": listing((0, 2))})
    await phone.sync()
    assert (await phone.sync(lists={"all": listing((0, 0), is_encrypted=False)}))["rooms"] == {}
    await alice.say(rooms[0], "one")
    await alice.say(rooms[1], "two")
    await alice.say(rooms[2], "three")
    assert set((await phone.sync())["rooms"]) == {rooms[2]}
    await alice.say(rooms[0], "four")
    await alice.say(rooms[2], "five")
    assert set((await phone.sync())["rooms"]) == {rooms[2]}
    behind = (await phone.sync(room_subscriptions={rooms[0]: {"timeline_limit": 10}}))["rooms"]
    assert bodies(behind[rooms[0]]) == ["one", "four"]
    assert "initial" not in behind[rooms[0]]
    assert bodies((await phone.sync(lists={"all": listing((0, 2))}))["rooms"][rooms[1]]) == ["two"]


async def test_filters(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    plain = await alice.create_room()
    encryption = {"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
    secret = await alice.create_room(initial_state=[encryption])
    space = await alice.create_room(creation_content={"type": "m.space"})
    await alice.set_state(space, "m.space.child", {"via": ["example.org"]}, plain)
    invited = await bob.create_room(invite=[alice.user_id], creation_content={"type": "m.space"})
    tag = path_of("user", alice.user_id, "rooms", secret, "tags", "m.favourite")
    await alice.call("PUT", tag, {})
    expected = {
        "all": ({}, {plain, secret, space, invited}),
        "encrypted": ({"is_encrypted": True}, {secret}),
        "open": ({"is_encrypted": False}, {plain, space, invited}),
        "invites": ({"is_invite": True}, {invited}),
        "joined": ({"is_invite": False}, {plain, secret, space}),
        "spaces": ({"room_types": ["m.space"]}, {space, invited}),
        "chats": ({"not_room_types": ["m.space"]}, {plain, secret}),
        "untyped": ({"room_types": [None]}, {plain, secret}),
        "contradiction": ({"room_types": [None], "not_room_types": [None]}, set()),
        "in the space": ({"spaces": [space, invited, "!no:where"]}, {plain}),
        "favourites": ({"tags": ["m.favourite", "u.other"]}, {secret}),
        "the others": ({"not_tags": ["m.favourite"]}, {plain, space, invited}),
        "people": ({"is_dm": True}, set()),
    }
    phone = Sliding(alice, lists={name: listing((0, 99), **wanted) for name, (wanted, _) in expected.items()})
    counts = {name: found["count"] for name, found in (await phone.sync())["lists"].items()}
    assert counts == {name: len(rooms) for name, (_, rooms) in expected.items()}
    for number, (name, (wanted, rooms)) in enumerate(expected.items()):
        alone = Sliding(alice, str(number), lists={"one": listing((0, 99), **wanted)})
        assert set((await alone.sync())["rooms"]) == rooms, name


async def test_filtered_lists_follow_what_happens(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room()
    space = await alice.create_room(creation_content={"type": "m.space"})
    lists = {
        "encrypted": listing((0, 9), is_encrypted=True),
        "favourites": listing((0, 9), tags=["m.favourite"]),
        "space": listing((0, 9), spaces=[space]),
        "invites": listing((0, 9), is_invite=True),
    }
    phone = Sliding(alice, lists=lists)

    async def counts() -> dict[str, int]:
        return {name: found["count"] for name, found in (await phone.sync())["lists"].items()}

    assert await counts() == {"encrypted": 0, "favourites": 0, "space": 0, "invites": 0}
    await alice.set_state(room_id, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"})
    assert (await counts())["encrypted"] == 1
    tag = path_of("user", alice.user_id, "rooms", room_id, "tags", "m.favourite")
    await alice.call("PUT", tag, {})
    assert (await counts())["favourites"] == 1
    await alice.call("DELETE", tag)
    assert (await counts())["favourites"] == 0
    await alice.set_state(space, "m.space.child", {"via": ["example.org"]}, room_id)
    assert (await counts())["space"] == 1
    await alice.set_state(space, "m.space.child", {}, room_id)
    assert (await counts())["space"] == 0
    invited = await bob.create_room(invite=[alice.user_id])
    assert (await counts())["invites"] == 1
    await alice.join(invited)
    assert (await counts())["invites"] == 0


async def test_a_room_in_several_lists_gets_what_any_of_them_asks_for(server: Server) -> None:
    (alice,) = await server.users("alice")
    room_id = await alice.create_room(name="Salon", topic="Talk")
    for number in range(5):
        await alice.say(room_id, str(number))
    phone = Sliding(
        alice,
        lists={
            "short": listing((0, 9), limit=1, state=[["m.room.name", ""]]),
            "long": listing((0, 9), limit=3, state=[["m.room.topic", "*"]]),
        },
    )
    room = (await phone.sync())["rooms"][room_id]
    assert bodies(room) == ["2", "3", "4"]
    assert {event["type"] for event in room["required_state"]} == {"m.room.name", "m.room.topic"}


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({"lists": {"all": listing((3, 1))}}, "M_INVALID_PARAM"),
        ({"lists": {"all": listing((-1, 1))}}, "M_BAD_JSON"),
        ({"lists": {str(number): listing((0, 1)) for number in range(101)}}, "M_INVALID_PARAM"),
        ({"lists": {"all": listing((0, 1), state=[["t", str(number)] for number in range(201)])}}, "M_INVALID_PARAM"),
        ({"room_subscriptions": {f"!{number}:x": {} for number in range(1_001)}}, "M_INVALID_PARAM"),
        ({"extensions": {"to_device": {"enabled": True, "since": "x"}}}, "M_INVALID_PARAM"),
        ({"lists": []}, "M_BAD_JSON"),
        ({"conn_id": "x" * 256}, "M_INVALID_PARAM"),
    ],
)
async def test_what_cannot_be_is_refused(server: Server, body: dict[str, object], errcode: str) -> None:
    (alice,) = await server.users("alice")
    answer = await Sliding(alice).ask(**body)
    assert (answer.status, answer.json["errcode"]) == (400, errcode)
