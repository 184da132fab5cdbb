"""What sliding sync tells of a room: everything at first, then what changes, and nothing twice."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from server_kit import Server, running_server
from sliding_sync.conversation import Sliding, bodies, listing, state_of

from homeserver.testing import path_of

NAME = ["m.room.name", ""]
TOPIC = ["m.room.topic", ""]
LAZY = ["m.room.member", "$LAZY"]
ME = ["m.room.member", "$ME"]


async def test_a_room_is_told_whole_and_then_by_its_changes(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(name="Salon", preset="public_chat")
    await bob.join(room_id)
    said = await alice.say(room_id, "hello")
    phone = Sliding(bob, lists={"all": listing((0, 19), limit=2, state=[NAME, LAZY, ME])})
    first = await phone.sync()
    assert first["lists"] == {"all": {"count": 1}}
    room = first["rooms"][room_id]
    assert room["initial"] is True
    assert (room["name"], room["joined_count"], room["invited_count"]) == ("Salon", 2, 0)
    assert bodies(room) == ["hello"]
    assert (room["limited"], room["num_live"]) == (True, 0)
    assert room["notification_count"] == 1
    assert "heroes" not in room
    assert {("m.room.name", ""), ("m.room.member", alice.user_id), ("m.room.member", bob.user_id)} == state_of(room)
    older = await bob.messages(room_id, dir="b", limit="1", **{"from": room["prev_batch"]})
    assert older["chunk"][0]["type"] == "m.room.member" or older["chunk"][0]["event_id"] != said

    assert (await phone.sync())["rooms"] == {}
    waiting = asyncio.create_task(phone.sync(10_000))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await alice.say(room_id, "live")
    news = (await asyncio.wait_for(waiting, 5))["rooms"][room_id]
    assert bodies(news) == ["live"]
    assert (news["num_live"], news["limited"]) == (1, False)
    assert news["bump_stamp"] > room["bump_stamp"]
    assert not {"initial", "name", "required_state", "joined_count", "heroes"} & news.keys()
    assert (await phone.sync())["rooms"] == {}


async def test_a_gap_is_limited_and_brings_the_state_it_hides(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(preset="public_chat", name="before")
    await bob.join(room_id)
    phone = Sliding(bob, lists={"all": listing((0, 19), limit=2, state=[NAME, TOPIC])})
    await phone.sync()
    await alice.set_state(room_id, "m.room.name", {"name": "after"})
    for number in range(5):
        await alice.say(room_id, str(number))
    room = (await phone.sync())["rooms"][room_id]
    assert bodies(room) == ["3", "4"]
    assert (room["limited"], room["num_live"], room["name"]) == (True, 2, "after")
    assert state_of(room) == {("m.room.name", "")}


async def test_the_name_goes_when_it_is_removed_and_heroes_come(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(preset="public_chat", name="Salon")
    await bob.join(room_id)
    phone = Sliding(bob, lists={"all": listing((0, 19))})
    await phone.sync()
    await alice.set_state(room_id, "m.room.name", {"name": ""})
    await alice.set_state(room_id, "m.room.name", {})
    room = (await phone.sync())["rooms"][room_id]
    assert room["name"] is None
    assert room["heroes"] == [{"user_id": alice.user_id, "displayname": "alice"}]


async def test_a_longer_timeline_is_sent_at_once_and_marked(server: Server) -> None:
    (alice,) = await server.users("alice")
    room_id = await alice.create_room()
    for number in range(6):
        await alice.say(room_id, str(number))
    phone = Sliding(alice, lists={"all": listing((0, 19), limit=1)})
    assert bodies((await phone.sync())["rooms"][room_id]) == ["5"]
    wide = {room_id: {"timeline_limit": 4, "required_state": []}}
    room = (await phone.sync(10_000, room_subscriptions=wide))["rooms"][room_id]
    assert bodies(room) == ["2", "3", "4", "5"]
    assert room["unstable_expanded_timeline"] is True
    assert (room["num_live"], room["limited"]) == (0, True)
    assert "initial" not in room
    # Away and back: the four are still there, and nothing is sent for them.
    assert (await phone.sync(room_subscriptions={}))["rooms"] == {}
    assert (await phone.sync(room_subscriptions=wide))["rooms"] == {}
    await alice.say(room_id, "6")
    assert bodies((await phone.sync())["rooms"][room_id]) == ["6"]


async def test_more_required_state_is_sent_when_it_is_asked_for(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(name="Salon", topic="Talk", preset="public_chat")
    await bob.join(room_id)
    phone = Sliding(alice, lists={"all": listing((0, 19), limit=1, state=[NAME])})
    assert state_of((await phone.sync())["rooms"][room_id]) == {("m.room.name", "")}
    room = (await phone.sync(lists={"all": listing((0, 19), limit=1, state=[NAME, TOPIC])}))["rooms"][room_id]
    assert state_of(room) == {("m.room.topic", "")}
    assert "timeline" not in room
    every = {room_id: {"timeline_limit": 1, "required_state": [["*", "*"]]}}
    keys = state_of((await phone.sync(room_subscriptions=every))["rooms"][room_id])
    assert {("m.room.create", ""), ("m.room.member", bob.user_id)} <= keys
    assert ("m.room.topic", "") not in keys


async def test_members_come_when_the_timeline_needs_them(server: Server) -> None:
    alice, bob, carol = await server.users("alice", "bob", "carol")
    room_id = await alice.create_room(preset="public_chat")
    for other in (bob, carol):
        await other.join(room_id)
    await alice.say(room_id, "hello")
    phone = Sliding(alice, lists={"all": listing((0, 19), limit=1, state=[["*", "*"], LAZY])})
    keys = state_of((await phone.sync())["rooms"][room_id])
    assert ("m.room.create", "") in keys
    assert {key for kind, key in keys if kind == "m.room.member"} == {alice.user_id}
    await bob.say(room_id, "hi")
    assert state_of((await phone.sync())["rooms"][room_id]) == {("m.room.member", bob.user_id)}
    await bob.say(room_id, "again")
    assert state_of((await phone.sync())["rooms"][room_id]) == set()
    await carol.leave(room_id)
    assert state_of((await phone.sync())["rooms"][room_id]) == {("m.room.member", carol.user_id)}


async def test_members_lost_with_an_answer_are_sent_again(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await alice.say(room_id, "hello")
    phone = Sliding(alice, lists={"all": listing((0, 19), limit=1, state=[LAZY])})
    await phone.sync()
    before = phone.pos
    await bob.say(room_id, "hi")
    for _ in range(2):
        assert state_of((await phone.sync(pos=before))["rooms"][room_id]) == {("m.room.member", bob.user_id)}


async def test_an_invitation_shows_what_the_room_is_and_accepting_it_everything(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    phone = Sliding(bob, lists={"all": listing((0, 19), state=[ME])})
    await phone.sync()
    room_id = await alice.create_room(name="Salon", invite=[bob.user_id])
    await alice.say(room_id, "a secret")
    answer = await phone.sync()
    room = answer["rooms"][room_id]
    assert answer["lists"]["all"]["count"] == 1
    assert room["initial"] is True
    shown = {event["type"]: event["content"] for event in room["invite_state"]}
    assert shown["m.room.name"] == {"name": "Salon"}
    assert shown["m.room.member"]["membership"] == "invite"
    assert "timeline" not in room
    await alice.say(room_id, "another")
    assert (await phone.sync())["rooms"] == {}
    await bob.join(room_id)
    room = (await phone.sync())["rooms"][room_id]
    assert (room["initial"], room["name"]) == (True, "Salon")
    assert room["num_live"] >= 1
    assert "invite_state" not in room


async def test_declined_invitations_and_left_rooms_are_told_once(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    invited_to = await alice.create_room(invite=[bob.user_id])
    in_room = await alice.create_room(preset="public_chat")
    await bob.join(in_room)
    phone = Sliding(bob, lists={"all": listing((0, 19), state=[NAME])})
    assert (await phone.sync())["lists"]["all"]["count"] == 2
    await bob.leave(invited_to)
    await alice.say(in_room, "farewell")
    await bob.leave(in_room)
    await alice.say(in_room, "behind your back")
    answer = await phone.sync()
    assert answer["lists"]["all"]["count"] == 0
    for room_id in (invited_to, in_room):
        own = answer["rooms"][room_id]["required_state"][-1]
        assert (own["state_key"], own["content"]["membership"]) == (bob.user_id, "leave")
    assert bodies(answer["rooms"][in_room]) == ["farewell"]
    assert (await phone.sync())["rooms"] == {}
    await bob.join(in_room)
    assert (await phone.sync())["rooms"][in_room]["initial"] is True


async def test_who_is_put_out_hears_of_it_even_on_a_new_connection(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(preset="public_chat", name="Salon")
    await bob.join(room_id)
    await alice.say(room_id, "mind your manners")
    await alice.call("POST", path_of("rooms", room_id, "kick"), {"user_id": bob.user_id, "reason": "manners"})
    await alice.say(room_id, "gone")
    phone = Sliding(bob, lists={"all": listing((0, 19), state=[NAME])})
    answer = await phone.sync()
    assert answer["lists"]["all"]["count"] == 1
    room = answer["rooms"][room_id]
    assert bodies(room) == ["mind your manners"]
    assert room["required_state"][-1]["content"] == {"membership": "leave", "reason": "manners"}
    assert (await phone.sync())["rooms"] == {}


async def test_a_withdrawn_invitation_or_a_ban_of_a_stranger_is_no_room(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room()
    await alice.call("POST", path_of("rooms", room_id, "ban"), {"user_id": bob.user_id})
    phone = Sliding(bob, lists={"all": listing((0, 19))}, room_subscriptions={room_id: {"timeline_limit": 5}})
    answer = await phone.sync()
    assert (answer["lists"]["all"]["count"], answer["rooms"]) == (0, {})


async def test_strangers_cannot_subscribe(server: Server) -> None:
    alice, eve = await server.users("alice", "eve")
    room_id = await alice.create_room(preset="public_chat")
    spy = Sliding(eve, room_subscriptions={room_id: {"timeline_limit": 5}, "!no:where": {"timeline_limit": 5}})
    assert (await spy.sync())["rooms"] == {}


async def test_history_and_ignored_users_are_as_in_the_other_sync(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    state = [{"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}]
    room_id = await alice.create_room(preset="public_chat", initial_state=state)
    await alice.say(room_id, "before you came")
    await bob.join(room_id)
    path = path_of("user", bob.user_id, "account_data", "m.ignored_user_list")
    phone = Sliding(bob, lists={"all": listing((0, 19), limit=20)})
    assert bodies((await phone.sync())["rooms"][room_id]) == []
    await bob.call("PUT", path, {"ignored_users": {alice.user_id: {}}})
    await alice.say(room_id, "can you hear me?")
    answer = await phone.sync()
    assert bodies(answer["rooms"].get(room_id, {})) == []
    invitation = await alice.create_room(invite=[bob.user_id])
    assert invitation not in (await phone.sync())["rooms"]


async def test_a_direct_chat_is_marked_and_unmarked(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(preset="trusted_private_chat")
    phone = Sliding(alice, lists={"all": listing((0, 19)), "people": listing((0, 19), is_dm=True)})
    first = await phone.sync()
    assert "is_dm" not in first["rooms"][room_id]
    assert first["lists"]["people"]["count"] == 0
    direct = path_of("user", alice.user_id, "account_data", "m.direct")
    await alice.call("PUT", direct, {bob.user_id: [room_id]})
    marked = await phone.sync()
    assert marked["rooms"][room_id]["is_dm"] is True
    assert marked["lists"]["people"]["count"] == 1
    await alice.call("PUT", direct, {})
    assert (await phone.sync())["rooms"][room_id]["is_dm"] is False


async def test_reading_on_another_device_changes_the_counts(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    said = await alice.say(room_id, "bob: hello", **{"m.mentions": {"user_ids": [bob.user_id]}})
    phone = Sliding(bob, lists={"all": listing((0, 19))})
    room = (await phone.sync())["rooms"][room_id]
    assert (room["notification_count"], room["highlight_count"]) == (1, 1)
    await bob.read(room_id, said)
    room = (await phone.sync())["rooms"][room_id]
    assert (room["notification_count"], room["highlight_count"]) == (0, 0)
    assert "timeline" not in room


@pytest.mark.parametrize("event_type", ["m.reaction", "m.room.topic"])
async def test_only_what_people_say_moves_the_bump_stamp(server: Server, event_type: str) -> None:
    (alice,) = await server.users("alice")
    room_id = await alice.create_room()
    said = await alice.say(room_id, "hello")
    phone = Sliding(alice, lists={"all": listing((0, 19))})
    stamp = (await phone.sync())["rooms"][room_id]["bump_stamp"]
    if event_type == "m.room.topic":
        await alice.set_state(room_id, event_type, {"topic": "Talk"})
    else:
        relation = {"rel_type": "m.annotation", "event_id": said, "key": "x"}
        await alice.send(room_id, event_type, {"m.relates_to": relation})
    assert "bump_stamp" not in (await phone.sync())["rooms"][room_id]
    await alice.say(room_id, "again")
    assert (await phone.sync())["rooms"][room_id]["bump_stamp"] > stamp


async def test_state_that_goes_by_resolution_is_told_after_memory_was_lost(tmp_path: Path) -> None:
    """A change of state outside the timeline shown is found in the database too."""
    async with running_server(tmp_path) as server:
        alice, bob = await server.users("alice", "bob")
        room_id = await alice.create_room(preset="public_chat")
        await bob.join(room_id)
        phone = Sliding(bob, lists={"all": listing((0, 19), limit=1, state=[TOPIC])})
        await phone.sync()
        await alice.set_state(room_id, "m.room.topic", {"topic": "unseen"})
        await alice.say(room_id, "hello")
        server.homeserver.rooms.rooms.cache.clear()
        await server.homeserver.rooms.hub.forget_all()
        room: Any = (await phone.sync())["rooms"][room_id]
        assert room["required_state"][0]["content"] == {"topic": "unseen"}
        assert bodies(room) == ["hello"]
