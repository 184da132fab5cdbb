"""Two real processes that send to each other and are killed at random moments: what was acknowledged is not lost.

`KILLS` sets how often (3 by default), `KILL_SEED` when.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from random import Random

import aiohttp
from federation.processes import FederatedProcess, two_processes
from server_process import Client, make_client

_PATIENCE_S = 60


async def test_what_was_acknowledged_survives_on_both_sides(tmp_path: Path) -> None:
    random = Random(int(os.environ.get("KILL_SEED", "1")))
    async with two_processes(tmp_path) as (one, other, session):
        alice, bob = await make_client(one.url, session, "alice"), await make_client(other.url, session, "bob")
        room_id = str((await alice.call("POST", "/createRoom", {"preset": "public_chat"}))["room_id"])
        await bob.call("POST", f"/join/{room_id}", {}, via=one.name)
        acknowledged: list[str] = []
        talking = [asyncio.create_task(_talk(user, room_id, acknowledged)) for user in (alice, bob)]
        for _ in range(int(os.environ.get("KILLS", "3"))):
            await asyncio.sleep(random.uniform(0.2, 2))
            victim: FederatedProcess = random.choice([one, other])
            victim.kill()
            await asyncio.sleep(random.uniform(0, 0.5))
            await victim.start()
        await asyncio.sleep(1)
        for task in talking:
            task.cancel()
        await asyncio.wait(talking)
        # One more of each: what follows on something that is missing has it fetched.
        acknowledged += [await _insistently(user, room_id) for user in (alice, bob)]
        assert len(acknowledged) > 20
        here, there = [await _all_there(user, room_id, acknowledged) for user in (alice, bob)]
        assert here == there
        assert len(here) == len(set(here))
        names = [await _members(user, room_id) for user in (alice, bob)]
        assert names[0] == names[1] == {alice.user_id, bob.user_id}


async def _talk(user: Client, room_id: str, acknowledged: list[str]) -> None:
    while True:
        try:
            acknowledged.append(await user.send(room_id))
        except (aiohttp.ClientError, RuntimeError):
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.01)


async def _insistently(user: Client, room_id: str) -> str:
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            try:
                return await user.send(room_id, "the last word")
            except (aiohttp.ClientError, RuntimeError):
                await asyncio.sleep(0.1)


async def _all_there(user: Client, room_id: str, acknowledged: list[str]) -> list[str]:
    """All messages that a user's server has, sorted, once those acknowledged are among them."""
    missing: set[str] = set()
    for _ in range(_PATIENCE_S * 2):
        found = await _messages(user, room_id)
        missing = set(acknowledged) - set(found)
        if not missing:
            return sorted(found)
        await asyncio.sleep(0.5)
    raise AssertionError(f"{len(missing)} of {len(acknowledged)} have not come to {user.server}: {sorted(missing)[:5]}")


async def _messages(user: Client, room_id: str) -> list[str]:
    found: list[str] = []
    start: dict[str, str] = {}
    while True:
        page = await user.call("GET", f"/rooms/{room_id}/messages", dir="b", limit="500", **start)
        found += [event["event_id"] for event in page["chunk"] if event["type"] == "m.room.message"]
        if "end" not in page:
            return found
        start = {"from": page["end"]}


async def _members(user: Client, room_id: str) -> set[str]:
    return set((await user.call("GET", f"/rooms/{room_id}/joined_members"))["joined"])
