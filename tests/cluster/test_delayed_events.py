"""Delayed events in a server of several processes: any of them schedules, one sends, another takes over."""

from __future__ import annotations

import asyncio
from pathlib import Path

from cluster_kit import running_processes

from homeserver.testing import path_of

UNSTABLE = "/_matrix/client/unstable/org.matrix.msc4140"


async def test_what_any_process_schedules_is_sent_once(tmp_path: Path, fresh_postgres_url: str) -> None:
    async with running_processes(tmp_path, fresh_postgres_url, 2) as processes:
        alice = await processes.user("alice")
        room_id = await alice.create_room()
        for number in (0, 1):
            there = processes.at(number, alice)
            path = UNSTABLE + path_of("rooms", room_id, "delayed_event", "m.room.message", f"t{number}")
            body = {"delay_ms": 300, "content": {"msgtype": "m.text", "body": f"by {number}"}}
            assert (await there.client.request("PUT", path, json=body)).status == 200
        async with asyncio.timeout(20):
            while (await alice.client.request("GET", f"{UNSTABLE}/delayed_events")).json["delayed_events"]:
                await asyncio.sleep(0.1)
        chunk = (await alice.messages(room_id, dir="b", limit="20"))["chunk"]
        sent = [event["content"]["body"] for event in chunk if event["type"] == "m.room.message"]
        assert sorted(sent) == ["by 0", "by 1"]


async def test_managing_at_both_processes_at_once_sends_at_most_once(tmp_path: Path, fresh_postgres_url: str) -> None:
    async with running_processes(tmp_path, fresh_postgres_url, 2) as processes:
        alice = await processes.user("alice")
        room_id = await alice.create_room()
        for number in range(8):
            path = UNSTABLE + path_of("rooms", room_id, "delayed_event", "m.room.message", f"t{number}")
            body = {"delay_ms": 60_000, "content": {"msgtype": "m.text", "body": f"{number}"}}
            answer = await processes.at(0, alice).client.request("PUT", path, json=body)
            action = f"{UNSTABLE}/delayed_events/{answer.json['delay_id']}/"
            await asyncio.gather(
                *(process.client.request("POST", action + "send", json={}) for process in processes.processes)
            )
        chunk = (await alice.messages(room_id, dir="b", limit="50"))["chunk"]
        sent = [event["content"]["body"] for event in chunk if event["type"] == "m.room.message"]
        assert sorted(sent) == [str(number) for number in range(8)]
