"""A server killed in the middle of its work loses nothing that it has acknowledged."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest
from server_process import Client, ServerProcess, make_clients


@pytest.mark.parametrize("kills", [3])
async def test_no_acknowledged_event_is_lost(tmp_path: Path, kills: int) -> None:
    server = ServerProcess(tmp_path)
    await server.start()
    try:
        async with aiohttp.ClientSession() as session:
            people = await make_clients(server.url, session, "crash", 4)
            room_id = (await people[0].call("POST", "/createRoom", {"preset": "public_chat"}))["room_id"]
            for person in people[1:]:
                await person.call("POST", f"/join/{room_id}", {})
            acknowledged: list[str] = []
            for _ in range(kills):
                senders = [asyncio.create_task(_send_until_it_dies(person, room_id, acknowledged)) for person in people]
                await asyncio.sleep(0.4)
                server.kill()
                await asyncio.gather(*senders)
                await server.start()
            assert len(acknowledged) > 20
            stored = await _all_events(people[0], room_id)
            assert set(acknowledged) <= set(stored)
            assert len(stored) == len(set(stored))
            # And the room goes on.
            assert await people[1].send(room_id) not in stored
    finally:
        server.stop()


async def _send_until_it_dies(person: Client, room_id: str, acknowledged: list[str]) -> None:
    try:
        while True:
            acknowledged.append(await person.send(room_id))
    except (aiohttp.ClientError, OSError):
        return


async def _all_events(person: Client, room_id: str) -> list[str]:
    found: list[str] = []
    start: dict[str, str] = {}
    while True:
        page = await person.call("GET", f"/rooms/{room_id}/messages", dir="f", limit="500", **start)
        found += [event["event_id"] for event in page["chunk"]]
        if "end" not in page:
            return found
        start = {"from": page["end"]}
