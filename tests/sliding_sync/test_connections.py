"""Connections: they bear lost answers, restarts and changes of mind, and end with an error that says so."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from server_kit import Server, User, running_server
from sliding_sync.conversation import Sliding, bodies, listing
from sqlalchemy import func, select

from homeserver.runtime.clock import ManualClock
from homeserver.services.sliding_sync.connections import Connections
from homeserver.storage.tables.sliding_sync import sliding_connections, sliding_steps


async def rows(server: Server) -> tuple[int, int]:
    """How many connections and steps there are."""

    def count(connection: Any) -> tuple[int, int]:
        tables = (sliding_connections, sliding_steps)
        return tuple(connection.execute(select(func.count()).select_from(table)).scalar_one() for table in tables)

    return await server.homeserver.database.read(count)


async def test_an_answer_that_was_lost_is_given_again(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    old = await alice.create_room(preset="public_chat")
    await bob.join(old)
    phone = Sliding(bob, lists={"all": listing((0, 19))})
    await phone.sync()
    before = phone.pos
    new = await alice.create_room(preset="public_chat")
    await bob.join(new)
    await alice.say(old, "hello")
    lost = await phone.sync(pos=before)
    again = await phone.sync(pos=before)
    assert set(lost["rooms"]) == set(again["rooms"]) == {old, new}
    assert again["rooms"][new]["initial"] is True
    assert bodies(again["rooms"][old]) == ["hello"]
    assert (await phone.sync())["rooms"] == {}


async def test_a_lost_answer_to_a_grown_window_is_given_again(server: Server) -> None:
    (alice,) = await server.users("alice")
    rooms = [await alice.create_room() for _ in range(4)]
    phone = Sliding(alice, lists={"all": listing((0, 0))})
    await phone.sync()
    before = phone.pos
    for _ in range(3):
        grown = await phone.sync(pos=before, lists={"all": listing((0, 3))})
        assert set(grown["rooms"]) == set(rooms[:3])
    assert (await phone.sync())["rooms"] == {}


async def test_a_token_two_answers_old_is_refused(server: Server) -> None:
    (alice,) = await server.users("alice")
    phone = Sliding(alice, lists={"all": listing((0, 19))})
    await phone.sync()
    first = phone.pos
    await alice.create_room()
    await phone.sync()
    await alice.create_room()
    await phone.sync()
    refused = await phone.ask(pos=first)
    assert (refused.status, refused.json["errcode"]) == (400, "M_UNKNOWN_POS")


async def test_tokens_belong_to_one_user_device_and_connection(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    tablet = await server.user("alice", device_id="TABLET")
    phone = Sliding(alice, "rooms")
    await phone.sync()
    others: list[tuple[User, str]] = [(bob, "rooms"), (tablet, "rooms"), (alice, "keys")]
    for user, name in others:
        refused = await Sliding(user, name).ask(pos=phone.pos)
        assert (refused.status, refused.json["errcode"]) == (400, "M_UNKNOWN_POS")
    for nonsense in ("x", "l1_1_1", "s1_1_1", "l1_1_999_1"):
        refused = await Sliding(alice, "rooms").ask(pos=nonsense)
        assert (refused.status, refused.json["errcode"]) == (400, "M_UNKNOWN_POS")


async def test_beginning_anew_ends_the_connection_of_that_name(server: Server) -> None:
    (alice,) = await server.users("alice")
    room_id = await alice.create_room()
    phone = Sliding(alice, "rooms", lists={"all": listing((0, 19))})
    await phone.sync()
    before, phone.pos = phone.pos, None
    assert (await phone.sync())["rooms"][room_id]["initial"] is True
    assert (await phone.ask(pos=before)).status == 400
    assert (await rows(server))[0] == 1


async def test_connections_outlive_the_server(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server:
        alice, bob = await server.users("alice", "bob")
        rooms = []
        for _ in range(3):
            rooms.append(await alice.create_room(preset="public_chat"))
            await bob.join(rooms[-1])
        phone = Sliding(bob, lists={"all": listing((0, 0), state=[["m.room.member", "$LAZY"]])})
        await phone.sync()
        await phone.sync(lists={"all": listing((0, 1))})
        for room_id in (rooms[2], rooms[1], rooms[0]):
            await alice.say(room_id, "before")
        await phone.sync(lists={"all": listing((0, 0))})
    async with running_server(tmp_path) as server:
        alice, bob = await server.users("alice", "bob")
        phone.user = bob = User(bob.user_id, phone.user.client, phone.user.device_id)
        bob.client = server.client.with_token(phone.user.client._token)
        assert (await phone.sync())["rooms"] == {}
        await alice.say(rooms[0], "after")
        news = (await phone.sync())["rooms"]
        assert bodies(news[rooms[0]]) == ["after"]
        assert "initial" not in news[rooms[0]]
        # A room that the client knew and had not been told the news of.
        behind = (await phone.sync(lists={"all": listing((0, 2))}))["rooms"]
        assert {room_id: bodies(room) for room_id, room in behind.items()} == {
            rooms[1]: ["before"],
            rooms[2]: ["before"],
        }


async def test_a_client_that_looks_at_all_its_rooms_costs_no_writes(server: Server) -> None:
    (alice,) = await server.users("alice")
    rooms = [await alice.create_room() for _ in range(3)]
    phone = Sliding(alice, lists={"all": listing((0, 9))})
    await phone.sync()
    before = await rows(server)
    for room_id in rooms:
        await alice.say(room_id, "hello")
        assert bodies((await phone.sync())["rooms"][room_id]) == ["hello"]
        assert (await phone.sync())["rooms"] == {}
    assert await rows(server) == before == (1, 1)


async def test_steps_are_merged_and_mean_the_same(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    phone = Sliding(bob, lists={"all": listing((0, 99))})
    await phone.sync()
    rooms = []
    for _ in range(40):
        rooms.append(await alice.create_room(preset="public_chat"))
        await bob.join(rooms[-1])
        assert set((await phone.sync())["rooms"]) == {rooms[-1]}
    assert (await rows(server))[1] < 34
    server.homeserver.sync.connections.cache.clear()
    await alice.say(rooms[0], "hello")
    news = (await phone.sync())["rooms"]
    assert {room_id: bodies(room) for room_id, room in news.items()} == {rooms[0]: ["hello"]}


async def test_connections_are_few_and_forgotten(tmp_path: Path) -> None:
    clock = ManualClock()
    async with running_server(tmp_path, clock=clock) as server:
        (alice,) = await server.users("alice")
        phones = [Sliding(alice, str(number)) for number in range(18)]
        for phone in phones:
            await phone.sync()
            await clock.advance(1)
        assert await rows(server) == (16, 16)
        assert [(await phone.ask()).status for phone in phones[:3]] == [400, 400, 200]
        for days, left in ((13, 16), (15, 0)):
            later = ManualClock(clock.now_ms() + days * 86_400_000)
            await Connections(server.homeserver.database, later, 1_000).forget_old()
            assert await rows(server) == (left, left)


async def test_a_request_given_up_for_another_gets_no_news(server: Server) -> None:
    (alice,) = await server.users("alice")
    room_id = await alice.create_room()
    phone = Sliding(alice, lists={"all": listing((0, 19))})
    await phone.sync()
    given_up = asyncio.create_task(phone.ask(10_000))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(phone.sync(10_000))
    await asyncio.sleep(0.05)
    await alice.say(room_id, "hello")
    assert bodies((await second)["rooms"][room_id]) == ["hello"]
    assert (await given_up).json["rooms"] == {}
    assert (await phone.sync())["rooms"] == {}


async def test_a_token_starts_a_page_of_messages(server: Server) -> None:
    (alice,) = await server.users("alice")
    room_id = await alice.create_room()
    await alice.say(room_id, "hello")
    phone = Sliding(alice)
    await phone.sync()
    await alice.say(room_id, "after")
    page = await alice.messages(room_id, dir="b", limit="1", **{"from": str(phone.pos)})
    assert [event["content"]["body"] for event in page["chunk"]] == ["hello"]
