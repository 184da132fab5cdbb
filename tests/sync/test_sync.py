"""/sync: what is new since a token, and nothing else."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from server_kit import Server, bodies, events_of, running_server

from homeserver.testing import path_of


async def test_an_event_is_told_once_and_at_once(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(invite=[bob.user_id])
    invited = await bob.sync()
    assert room_id in invited["rooms"]["invite"]
    await bob.join(room_id)
    joined = await bob.sync()
    assert "invite" not in joined["rooms"]
    assert joined["rooms"]["join"][room_id]["timeline"]["events"][-1]["content"]["membership"] == "join"
    waiting = asyncio.create_task(bob.sync(10_000))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await alice.say(room_id, "live")
    news = await asyncio.wait_for(waiting, 5)
    assert bodies(events_of(news, room_id)) == ["live"]
    assert news["rooms"]["join"][room_id]["state"]["events"] == []
    assert "rooms" not in await bob.sync()


async def test_nothing_new_is_answered_when_time_is_up(server: Server) -> None:
    (alice,) = await server.users("alice")
    await alice.create_room()
    await alice.sync()
    before = asyncio.get_running_loop().time()
    body = await alice.sync(150)
    assert "rooms" not in body
    assert asyncio.get_running_loop().time() - before >= 0.14


async def test_a_gap_is_marked_and_can_be_closed_exactly(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    since = (await bob.sync())["next_batch"]
    for number in range(15):
        await alice.say(room_id, str(number))
    await alice.set_state(room_id, "m.room.name", {"name": "in the gap"})
    for number in range(15, 20):
        await alice.say(room_id, str(number))
    part = (await bob.sync(filter='{"room":{"timeline":{"limit":4}}}'))["rooms"]["join"][room_id]
    assert part["timeline"]["limited"]
    assert bodies(part["timeline"]["events"]) == ["16", "17", "18", "19"]
    assert [event["content"] for event in part["state"]["events"]] == [{"name": "in the gap"}]
    gap = await bob.messages(room_id, dir="f", limit="50", to=part["timeline"]["prev_batch"], **{"from": since})
    assert bodies(gap["chunk"]) == [str(number) for number in range(16)]


async def test_the_state_is_that_at_the_start_of_the_timeline(server: Server) -> None:
    (alice,) = await server.users("alice")
    room_id = await alice.create_room(name="first")
    await alice.say(room_id, "a")
    await alice.set_state(room_id, "m.room.name", {"name": "second"})
    wanted = json.dumps({"room": {"timeline": {"limit": 1}}})
    part = (await alice.sync(filter=wanted))["rooms"]["join"][room_id]
    state = {(event["type"], event["state_key"]): event["content"] for event in part["state"]["events"]}
    assert state["m.room.name", ""] == {"name": "first"}
    alice.since = None
    part = (await alice.sync(filter=wanted, use_state_after="true"))["rooms"]["join"][room_id]
    after = {(event["type"], event["state_key"]): event["content"] for event in part["state_after"]["events"]}
    assert after["m.room.name", ""] == {"name": "second"}
    assert "state" not in part


async def test_lazy_members_are_told_once(server: Server) -> None:
    alice, bob, carol = await server.users("alice", "bob", "carol")
    room_id = await alice.create_room(preset="public_chat", name="n")
    for user in (bob, carol):
        await user.join(room_id)
    for number in range(12):
        await bob.say(room_id, str(number))
    wanted = json.dumps({"room": {"state": {"lazy_load_members": True}, "timeline": {"limit": 5}}})

    def members(body: object) -> set[str]:
        part = body["rooms"]["join"][room_id]  # type: ignore[index]
        return {event["state_key"] for event in part["state"]["events"] if event["type"] == "m.room.member"}

    assert members(await alice.sync(filter=wanted)) == {alice.user_id, bob.user_id}
    await bob.say(room_id, "known")
    assert members(await alice.sync(filter=wanted)) == set()
    await carol.say(room_id, "new")
    assert members(await alice.sync(filter=wanted)) == {carol.user_id}


async def test_who_leaves_hears_of_it_and_then_nothing(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await bob.sync()
    await alice.say(room_id, "before")
    await alice.call("POST", path_of("rooms", room_id, "kick"), {"user_id": bob.user_id})
    await alice.say(room_id, "after")
    left = (await bob.sync())["rooms"]["leave"][room_id]
    assert bodies(left["timeline"]["events"]) == ["before"]
    assert left["timeline"]["events"][-1]["content"]["membership"] == "leave"
    await alice.say(room_id, "later")
    assert "rooms" not in await bob.sync()


async def test_typing_and_receipts(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(invite=[bob.user_id])
    await bob.join(room_id)
    event_id = await alice.say(room_id, "read me")
    await alice.sync()
    waiting = asyncio.create_task(alice.sync(5_000))
    await bob.call("PUT", path_of("rooms", room_id, "typing", bob.user_id), {"typing": True, "timeout": 5000})
    events = (await waiting)["rooms"]["join"][room_id]["ephemeral"]["events"]
    assert events == [{"type": "m.typing", "content": {"user_ids": [bob.user_id]}}]
    await bob.read(room_id, event_id)
    events = (await alice.sync(5_000))["rooms"]["join"][room_id]["ephemeral"]["events"]
    receipt = next(event for event in events if event["type"] == "m.receipt")
    assert bob.user_id in receipt["content"][event_id]["m.read"]
    await bob.read(room_id, await alice.say(room_id, "secretly"), "m.read.private")
    news = await alice.sync()
    assert not any(event["type"] == "m.receipt" for event in news["rooms"]["join"][room_id]["ephemeral"]["events"])


async def test_unread_counts_follow_receipts_mentions_and_threads(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(invite=[bob.user_id])
    await bob.join(room_id)
    await bob.sync()
    wanted = json.dumps({"room": {"timeline": {"unread_thread_notifications": True}}})

    async def counts() -> tuple[int, int, dict[str, int]]:
        bob.since = None
        part = (await bob.sync(filter=wanted))["rooms"]["join"][room_id]
        threads = part.get("unread_thread_notifications", {})
        main = part["unread_notifications"]
        return (
            main["notification_count"],
            main["highlight_count"],
            {root: count["notification_count"] for root, count in threads.items()},
        )

    first = await alice.say(room_id, "one")
    await alice.say(room_id, "two", **{"m.mentions": {"user_ids": [bob.user_id]}})
    await alice.send(
        room_id, "m.reaction", {"m.relates_to": {"rel_type": "m.annotation", "event_id": first, "key": "x"}}
    )
    assert await counts() == (2, 1, {})
    thread = {"m.relates_to": {"rel_type": "m.thread", "event_id": first}}
    reply = await alice.say(room_id, "in thread", **thread)
    assert await counts() == (2, 1, {first: 1})
    await bob.read(room_id, reply, thread_id=first)
    assert await counts() == (2, 1, {})
    await bob.read(room_id, first)
    assert await counts() == (1, 1, {})
    await bob.say(room_id, "I have read everything")
    assert await counts() == (0, 0, {})
    await alice.say(room_id, "three")
    assert await counts() == (1, 0, {})
    mute = {"actions": []}
    await bob.call("PUT", path_of("pushrules", "global", "room", room_id), mute)
    assert await counts() == (0, 0, {})


async def test_ignored_users_are_not_heard(server: Server) -> None:
    alice, bob, carol = await server.users("alice", "bob", "carol")
    room_id = await alice.create_room(preset="public_chat")
    for user in (bob, carol):
        await user.join(room_id)
    ignored = {"ignored_users": {carol.user_id: {}}}
    await bob.call("PUT", path_of("user", bob.user_id, "account_data", "m.ignored_user_list"), ignored)
    await bob.sync()
    await carol.say(room_id, "unheard")
    await alice.say(room_id, "heard")
    assert bodies(events_of(await bob.sync(), room_id)) == ["heard"]
    assert bodies((await bob.messages(room_id))["chunk"]) == ["heard"]


async def test_account_data_and_tags_are_news_to_their_owner(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(invite=[bob.user_id])
    await bob.join(room_id)
    await bob.sync()
    await alice.sync()
    await bob.call("PUT", path_of("user", bob.user_id, "account_data", "org.example"), {"x": 1})
    await bob.call("PUT", path_of("user", bob.user_id, "rooms", room_id, "tags", "m.favourite"), {"order": 0.5})
    news = await bob.sync()
    assert {"type": "org.example", "content": {"x": 1}} in news["account_data"]["events"]
    tags = news["rooms"]["join"][room_id]["account_data"]["events"]
    assert tags == [{"type": "m.tag", "content": {"tags": {"m.favourite": {"order": 0.5}}}}]
    assert "rooms" not in await alice.sync()


async def test_filters_choose_rooms_and_events(server: Server) -> None:
    (alice,) = await server.users("alice")
    kept, dropped = await alice.create_room(), await alice.create_room()
    await alice.say(kept, "message")
    await alice.send(kept, "org.example.event", {})
    made = await alice.call(
        "POST",
        path_of("user", alice.user_id, "filter"),
        {
            "room": {"not_rooms": [dropped], "timeline": {"types": ["org.example.*"]}},
            "event_fields": ["type", "event_id"],
        },
    )
    body = await alice.sync(filter=made["filter_id"])
    assert list(body["rooms"]["join"]) == [kept]
    (event,) = body["rooms"]["join"][kept]["timeline"]["events"]
    assert (event["type"], set(event)) == ("org.example.event", {"type", "event_id"})


async def test_transaction_ids_return_to_the_device_that_sent(server: Server) -> None:
    alice = await server.user("alice")
    room_id = await alice.create_room()
    other = await server.user("alice")
    for device in (alice, other):
        await device.sync()
    await alice.call("PUT", path_of("rooms", room_id, "send", "m.room.message", "mine"), {"body": "x"})
    (own,) = events_of(await alice.sync(), room_id)
    (seen,) = events_of(await other.sync(), room_id)
    assert own["unsigned"]["transaction_id"] == "mine"
    assert "transaction_id" not in seen["unsigned"]


async def test_presence_is_not_lost_between_its_number_and_its_news(tmp_path: Path) -> None:
    async with running_server(tmp_path, presence={"enabled": True}) as server:
        alice, bob = await server.users("alice", "bob")
        room_id = await alice.create_room(invite=[bob.user_id])
        await bob.join(room_id)
        presence = server.homeserver.sync.presence
        await bob.sync()
        await presence.spread()
        await bob.sync()
        # Noted, and nobody told yet, when an answer without news goes out.
        presence.note(alice.user_id, "online", "here", None)
        assert "presence" not in await bob.sync()
        await presence.spread()
        events = (await bob.sync())["presence"]["events"]
        assert [event["content"]["status_msg"] for event in events if event["sender"] == alice.user_id] == ["here"]


async def test_presence_is_told_to_those_who_share_a_room(tmp_path: Path) -> None:
    async with running_server(tmp_path, presence={"enabled": True}) as server:
        alice, bob, carol = await server.users("alice", "bob", "carol")
        room_id = await alice.create_room(invite=[bob.user_id])
        await bob.join(room_id)
        await bob.sync()
        body = {"presence": "online", "status_msg": "here"}
        await alice.call("PUT", path_of("presence", alice.user_id, "status"), body)
        told: dict[str, Any] = {}
        while alice.user_id not in told:
            news = await bob.sync(5_000)
            told |= {event["sender"]: event["content"] for event in news.get("presence", {}).get("events", [])}
        assert told[alice.user_id]["status_msg"] == "here"
        assert (await carol.ask("GET", path_of("presence", alice.user_id, "status"))).status == 403


async def test_a_token_from_before_a_restart_still_works(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(invite=[bob.user_id])
    await bob.join(room_id)
    quiet = await alice.create_room(invite=[bob.user_id])
    await bob.join(quiet)
    await bob.sync()
    await alice.say(room_id, "while away")
    await server.homeserver.rooms.hub.forget_all()
    news = await bob.sync()
    assert list(news["rooms"]["join"]) == [room_id]
    assert bodies(events_of(news, room_id)) == ["while away"]


async def test_what_happens_while_an_answer_is_made_is_told_at_once(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await bob.sync()
    for number in range(10):
        messages = {"messages": {bob.user_id: {bob.device_id: {}}}}
        await alice.call("PUT", path_of("sendToDevice", "m.dummy", str(number)), messages)
        assert "to_device" in await bob.sync()
        # The next answer takes a while: the message that has arrived is deleted first.
        sending = asyncio.create_task(alice.say(room_id, str(number)))
        await asyncio.sleep(number / 2000)
        assert bodies(events_of(await bob.sync(2000), room_id)) == [str(number)]
        await sending
