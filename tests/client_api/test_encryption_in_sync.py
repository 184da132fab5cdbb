"""What a whole server tells clients of encryption in /sync and /keys/changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from encryption_app import device_keys_of, one_time_keys
from server_kit import Server, User, running_server

from homeserver.testing import path_of

CURVE = "signed_curve25519"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as running:
        yield running


async def send(sender: User, receiver: User, *numbers: int) -> None:
    for number in numbers:
        messages = {receiver.user_id: {"*": {"n": number}}}
        await sender.call("PUT", path_of("sendToDevice", "m.x", f"t{number}"), {"messages": messages})


def received(sync: Any) -> list[int]:
    return [event["content"]["n"] for event in sync.get("to_device", {}).get("events", ())]


async def upload(user: User) -> None:
    await user.call("POST", "/keys/upload", {"device_keys": device_keys_of(user.user_id, user.device_id)})


async def test_messages_wake_a_waiting_device_and_come_once(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    assert received(await bob.sync()) == []
    waiting = asyncio.create_task(bob.sync(10_000))
    await asyncio.sleep(0.05)
    await send(alice, bob, 1)
    before = bob.since
    assert received(await asyncio.wait_for(waiting, 5)) == [1]
    bob.since = before
    assert received(await bob.sync()) == [1]
    await send(alice, bob, 2)
    assert received(await bob.sync()) == [2]
    bob.since = before
    assert received(await bob.sync()) == [2]


async def test_a_long_queue_comes_in_parts_without_waiting(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    await bob.sync()
    await send(alice, bob, *range(250))
    parts = [received(await bob.sync(10_000)) for _ in range(3)]
    assert [len(part) for part in parts] == [100, 100, 50]
    assert [number for part in parts for number in part] == list(range(250))


async def test_key_counts_are_in_every_sync(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    first = await alice.sync()
    assert (first["device_one_time_keys_count"], first["device_unused_fallback_key_types"]) == ({CURVE: 0}, [])
    fallback = {f"{CURVE}:f": {"key": "f", "fallback": True, "signatures": {}}}
    await alice.call("POST", "/keys/upload", {"one_time_keys": one_time_keys("a"), "fallback_keys": fallback})
    second = await alice.sync()
    assert (second["device_one_time_keys_count"], second["device_unused_fallback_key_types"]) == ({CURVE: 1}, [CURVE])
    for _ in range(2):
        await bob.call("POST", "/keys/claim", {"one_time_keys": {alice.user_id: {alice.device_id: CURVE}}})
    third = await alice.sync()
    assert (third["device_one_time_keys_count"], third["device_unused_fallback_key_types"]) == ({CURVE: 0}, [])


async def test_device_lists_in_shared_rooms(server: Server) -> None:
    alice, bob, carol = await server.users("alice", "bob", "carol")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    for user in (alice, bob, carol):
        assert "device_lists" not in await user.sync()
    start = alice.since
    waiting = asyncio.create_task(alice.sync(10_000))
    await asyncio.sleep(0.05)
    await upload(bob)
    assert (await asyncio.wait_for(waiting, 5))["device_lists"] == {"changed": [bob.user_id], "left": []}
    assert "device_lists" not in await carol.sync()
    assert (await bob.sync())["device_lists"]["changed"] == [bob.user_id]
    await carol.join(room_id)
    assert (await alice.sync())["device_lists"]["changed"] == [carol.user_id]
    assert set((await carol.sync())["device_lists"]["changed"]) >= {alice.user_id, bob.user_id}
    await bob.leave(room_id)
    assert (await alice.sync())["device_lists"] == {"changed": [], "left": [bob.user_id]}
    query = {"from": str(start), "to": str(alice.since)}
    assert await alice.call("GET", "/keys/changes", **query) == {"changed": [carol.user_id], "left": [bob.user_id]}
