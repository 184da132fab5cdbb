"""The chat scenarios of the performance table: send, deliver, join, sync.

Usage: python -m benchmarks.chat [--asgi uvicorn] [--database URL] [scenario ...]
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from server_process import Client, ServerProcess, make_clients, running_server

from benchmarks.harness import HEADER, Figures, measure

_LAZY = '{"room":{"state":{"lazy_load_members":true},"timeline":{"limit":20}}}'
_FULL = '{"room":{"timeline":{"limit":20}}}'


async def _room(creator: Client, members: list[Client], **more: Any) -> str:
    made = await creator.call("POST", "/createRoom", {"preset": "public_chat", "name": "a room", **more})
    room_id = str(made["room_id"])
    for member in members:
        await member.call("POST", f"/join/{room_id}", {})
    return room_id


async def send(server: ServerProcess, session: aiohttp.ClientSession) -> list[Figures]:
    """20 senders in 10 rooms of 10, then all in one room, then one sender in turn."""
    people = await make_clients(server.url, session, "send", 20)
    rooms = [await _room(people[n], [people[(n + k) % 20] for k in range(1, 10)]) for n in range(10)]
    members = {room: [people[(n + k) % 20] for k in range(10)] for n, room in enumerate(rooms)}
    crowd = await _room(people[0], people[1:])
    for room in rooms:
        await members[room][0].send(room)
    jobs: list[Callable[[], Awaitable[Any]]] = []
    for number in range(2_000):
        room = rooms[number % 10]
        jobs.append(functools.partial(members[room][(number // 10) % 10].send, room))
    figures = [await measure(server, "PUT /send, 20 senders in 10 rooms of 10", jobs, 20)]
    jobs = [functools.partial(people[number % 20].send, crowd) for number in range(2_000)]
    figures.append(await measure(server, "PUT /send, one room, 20 senders", jobs, 20))
    jobs = [functools.partial(people[0].send, crowd) for _ in range(500)]
    figures.append(await measure(server, "PUT /send, one sender in turn", jobs, 1))
    jobs = [functools.partial(people[number % 20].call, "GET", "/account/whoami") for number in range(2_000)]
    figures.append(await measure(server, "whoami (HTTP floor)", jobs, 20))
    jobs = [functools.partial(people[0].call, "GET", f"/rooms/{crowd}/messages", dir="b", limit="20")] * 300
    figures.append(await measure(server, "/messages, a page of 20", jobs, 4))
    jobs = [
        functools.partial(people[number % 20].call, "POST", "/createRoom", {"preset": "private_chat", "name": "n"})
        for number in range(200)
    ]
    figures.append(await measure(server, "createRoom (private_chat, name)", jobs, 4))
    return figures


async def deliver(server: ServerProcess, session: aiohttp.ClientSession) -> list[Figures]:
    """A message to 50 long-polling receivers, calmly and at 20 messages a second."""
    people = await make_clients(server.url, session, "deliver", 51)
    room = await _room(people[0], people[1:])
    receivers = people[1:]
    await asyncio.gather(*(receiver.sync() for receiver in receivers))
    figures = []
    for per_second, count in ((4, 40), (20, 200)):
        figures.append(await _deliveries(server, people[0], receivers, room, per_second, count))
    return figures


async def _deliveries(
    server: ServerProcess, sender: Client, receivers: list[Client], room: str, per_second: int, count: int
) -> Figures:
    sent_at: dict[str, float] = {}
    latencies: list[float] = []
    delivered = 0

    async def receive(receiver: Client) -> None:
        nonlocal delivered
        seen = 0
        while seen < count:
            body = await receiver.sync(30_000)
            arrived = time.perf_counter()
            part = body.get("rooms", {}).get("join", {}).get(room)
            for event in part["timeline"]["events"] if part else ():
                text = event["content"].get("body", "")
                if text in sent_at:
                    latencies.append((arrived - sent_at[text]) * 1000)
                    seen += 1
                    delivered += 1

    receiving = [asyncio.create_task(receive(receiver)) for receiver in receivers]
    await asyncio.sleep(0.5)
    before, started = server.cpu_ms(), time.perf_counter()
    for number in range(count):
        text = f"{per_second}-{number}"
        sent_at[text] = time.perf_counter()
        await sender.send(room, text)
        await asyncio.sleep(max(0.0, started + (number + 1) / per_second - time.perf_counter()))
    await asyncio.gather(*receiving)
    name = f"delivery to each of 50 long-polling receivers, {per_second}/s"
    return Figures(name, delivered, server.cpu_ms() - before, latencies, time.perf_counter() - started)


async def join(server: ServerProcess, session: aiohttp.ClientSession) -> list[Figures]:
    """1,000 users join one room; then a message to it, and its member list."""
    people = await make_clients(server.url, session, "join", 1_001)
    room = await _room(people[0], [])
    jobs: list[Callable[[], Awaitable[Any]]] = [
        functools.partial(person.call, "POST", f"/join/{room}", {}) for person in people[1:]
    ]
    figures = [await measure(server, "join: 1,000 users join one room, each", jobs, 20)]
    jobs = [functools.partial(people[number % 20].send, room) for number in range(500)]
    figures.append(await measure(server, "PUT /send in that room of 1,000 local members", jobs, 20))
    for name in ("members", "joined_members", "state"):
        jobs = [functools.partial(people[1].call, "GET", f"/rooms/{room}/{name}")] * 20
        figures.append(await measure(server, f"/{name} of it", jobs, 1))
    return figures


async def sync(server: ServerProcess, session: aiohttp.ClientSession) -> list[Figures]:
    """Initial sync of 200 rooms of 50 members and 100 messages; then syncs with nothing and with one event."""
    people = await make_clients(server.url, session, "sync", 50)
    rooms = []
    for _ in range(200):
        room = await _room(people[0], [])
        await asyncio.gather(*(person.call("POST", f"/join/{room}", {}) for person in people[1:]))
        for number in range(5):
            await asyncio.gather(*(people[(number * 20 + k) % 50].send(room) for k in range(20)))
        rooms.append(room)
    figures = []
    for name, wanted in (("full members, first", _FULL), ("full members, again", _FULL), ("lazy members", _LAZY)):
        client = people[1] if "first" not in name else people[2]

        async def initial(client: Client = client, wanted: str = wanted) -> None:
            client.since = None
            await client.sync(filter=wanted)

        figures.append(await measure(server, f"initial /sync, 200 rooms, {name}", [initial] * 2, 1))
    jobs: list[Callable[[], Awaitable[Any]]] = [functools.partial(people[1].sync, filter=_LAZY)] * 1_000
    figures.append(await measure(server, "no-op incremental /sync, 200 rooms", jobs, 1))

    async def one_event() -> None:
        await people[1].sync(filter=_LAZY)

    cpu, count = 0.0, 200
    latencies = []
    for number in range(count):
        await people[3].send(rooms[number % 200])
        one = await measure(server, "one", [one_event], 1)
        cpu += one.cpu_ms
        latencies += one.latencies_ms
    figures.append(Figures("incremental /sync with one new event", count, cpu, latencies, sum(latencies) / 1000))
    return figures


SCENARIOS = {"send": send, "deliver": deliver, "join": join, "sync": sync}


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--asgi", default="hypercorn", choices=["hypercorn", "uvicorn"])
    parser.add_argument("--database", default=None, help="a PostgreSQL URL; SQLite without it")
    parser.add_argument("scenario", nargs="*", choices=[*SCENARIOS, []], default=[])
    options = parser.parse_args()
    print(HEADER)
    for name in options.scenario or SCENARIOS:
        async with running_server(asgi=options.asgi, database_url=options.database) as (server, session):
            at_start = server.rss_mb()
            for figures in await SCENARIOS[name](server, session):
                print(figures.row(), flush=True)
            size = server.database_bytes() / 1e6
            print(f"  RSS {at_start:.0f} MB at start, {server.rss_mb():.0f} MB after; database {size:.1f} MB")


if __name__ == "__main__":
    asyncio.run(main())
