"""Several processes on one database: it does not show which of them a request goes to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cluster_kit import Channel, ManyProcesses, running_process, running_processes
from server_kit import User, bodies, events_of

from homeserver.testing import path_of


@pytest.fixture(params=["bus", "lossy bus", "no bus"])
async def processes(request: Any, tmp_path: Path, fresh_postgres_url: str) -> AsyncIterator[ManyProcesses]:
    async with running_processes(tmp_path, fresh_postgres_url, 3, bus=request.param != "no bus") as running:
        running.channel.loss = 0.3 if request.param == "lossy bus" else 0.0
        yield running


async def heard(user: User, room_id: str, count: int) -> list[str]:
    """What syncing brings, until so many messages have come."""
    found: list[str] = []
    for _ in range(100):
        body = await user.sync(2_000, filter='{"room":{"timeline":{"limit":100}}}')
        if room_id in body.get("rooms", {}).get("join", {}):
            assert not body["rooms"]["join"][room_id]["timeline"]["limited"]
            found += [text for text in bodies(events_of(body, room_id)) if text is not None]
        if len(found) >= count:
            break
    return found


async def test_everybody_hears_everything_once_and_in_one_order(processes: ManyProcesses) -> None:
    users = await processes.users("alice", "bob", "carol")
    room_id = await users[0].create_room(preset="public_chat")
    for user in users[1:]:
        await eventually_join(user, room_id)
    for user in users:
        await user.sync()
    listening = [asyncio.create_task(heard(user, room_id, 60)) for user in users]

    async def talk(user: User) -> None:
        for number in range(20):
            await user.say(room_id, f"{user.user_id} {number}")

    await asyncio.gather(*map(talk, users))
    first, *others = await asyncio.gather(*listening)
    assert len(first) == len(set(first)) == 60
    assert all(other == first for other in others)
    for user in users:
        own = [text for text in first if text.startswith(user.user_id)]
        assert own == [f"{user.user_id} {number}" for number in range(20)]


async def eventually_join(user: User, room_id: str) -> None:
    """Without a bus, other processes learn of a room a moment later."""
    for _ in range(20):
        answer = await user.ask("POST", path_of("join", room_id), {})
        if answer.status == 200:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(answer.body)


async def test_a_room_written_to_by_all_is_one_chain(processes: ManyProcesses) -> None:
    (alice,) = await processes.users("alice")
    room_id = await alice.create_room()
    sent = await asyncio.gather(
        *(processes.at(number % 3, alice).say(room_id, f"#{number}", txn=number) for number in range(60))
    )
    assert len(set(sent)) == 60
    await processes.homeserver.cluster.catch_up()
    room = await processes.homeserver.rooms.rooms.get(room_id)
    assert len(room.extremities) == 1
    events = await processes.homeserver.rooms.events.get_many(sent)
    assert sorted(stored.event.depth for stored in events.values()) == list(
        range(min(stored.event.depth for stored in events.values()), room.extremities[0].depth + 1)
    )
    assert all(len(stored.event.prev_event_ids) == 1 for stored in events.values())


async def test_a_token_works_at_another_process_and_after_a_restart(tmp_path: Path, fresh_postgres_url: str) -> None:
    async with running_processes(tmp_path, fresh_postgres_url) as processes:
        (alice,) = await processes.users("alice")
        here, there = processes.at(0, alice), processes.at(1, alice)
        room_id = await here.create_room()
        await here.sync()
        await here.say(room_id, "while away")
        there.since = here.since
        assert bodies(events_of(await there.sync(2_000), room_id)) == ["while away"]
    async with running_processes(tmp_path, fresh_postgres_url) as processes:
        (again,) = [await processes.user("alice")]
        again.since = here.since
        assert bodies(events_of(await again.sync(), room_id)) == ["while away"]


async def test_a_session_ended_at_one_process_is_ended_at_all(tmp_path: Path, fresh_postgres_url: str) -> None:
    async with running_processes(tmp_path, fresh_postgres_url) as processes:
        (alice,) = await processes.users("alice")
        for number in (0, 1):
            await processes.at(number, alice).call("GET", "/account/whoami")
        await processes.at(0, alice).call("POST", "/logout", {})
        await asyncio.sleep(0.05)
        assert (await processes.at(1, alice).ask("GET", "/account/whoami")).status == 401


async def test_typing_and_ignoring_are_seen_everywhere(tmp_path: Path, fresh_postgres_url: str) -> None:
    async with running_processes(tmp_path, fresh_postgres_url) as processes:
        alice, bob = await processes.users("alice", "bob")
        room_id = await alice.create_room(preset="public_chat")
        await bob.join(room_id)
        here, there = processes.at(0, alice), processes.at(1, bob)
        await there.sync()
        waiting = asyncio.create_task(there.sync(5_000))
        await asyncio.sleep(0.05)
        await here.call("PUT", path_of("rooms", room_id, "typing", alice.user_id), {"typing": True, "timeout": 5_000})
        (typing,) = (await waiting)["rooms"]["join"][room_id]["ephemeral"]["events"]
        assert typing["content"]["user_ids"] == [alice.user_id]
        ignored = {"ignored_users": {alice.user_id: {}}}
        await processes.at(0, bob).call(
            "PUT", path_of("user", bob.user_id, "account_data", "m.ignored_user_list"), ignored
        )
        await there.sync()
        await here.say(room_id, "can you hear me?")
        assert bodies(events_of(await there.sync(), room_id)) == []


async def test_what_one_process_does_for_all_moves_when_it_stops(tmp_path: Path, fresh_postgres_url: str) -> None:
    channel = Channel()
    async with (
        running_process(tmp_path, fresh_postgres_url, channel) as second,
        running_process(tmp_path, fresh_postgres_url, channel) as third,
    ):
        assert second.homeserver.cluster.leases.holds("search")
        assert not third.homeserver.cluster.leases.holds("search")
        alice = await third.user("alice")
        room_id = await alice.create_room()
        await alice.say(room_id, "needle")
        body = {"search_categories": {"room_events": {"search_term": "needle"}}}
        found = await alice.call("POST", "/search", body)
        assert found["search_categories"]["room_events"]["count"] == 1
        await second.homeserver.background.stop()
        await second.homeserver.cluster.leave()
        async with asyncio.timeout(10):
            while not third.homeserver.cluster.leases.holds("search"):
                await asyncio.sleep(0.1)
        await alice.say(room_id, "another needle")
        found = await alice.call("POST", "/search", body)
        assert found["search_categories"]["room_events"]["count"] == 2
