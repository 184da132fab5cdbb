"""The scenarios of sliding sync: an account with many rooms that is opened, scrolled, and then left waiting.

Usage: python -m benchmarks.sliding [--asgi uvicorn] [--database URL] [scenario ...]
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
from server_process import Client, ServerProcess, make_clients, running_server

from benchmarks.harness import HEADER, Figures, measure

# What Element X asks for.
_STATE = [
    ["m.room.name", ""],
    ["m.room.encryption", ""],
    ["m.room.member", "$LAZY"],
    ["m.room.member", "$ME"],
    ["m.room.topic", ""],
    ["m.room.avatar", ""],
    ["m.room.canonical_alias", ""],
    ["m.room.power_levels", ""],
    ["org.matrix.msc3401.call.member", "*"],
    ["m.room.join_rules", ""],
    ["m.room.tombstone", ""],
    ["m.room.create", ""],
    ["m.room.history_visibility", ""],
    ["io.element.functional_members", ""],
    ["m.space.parent", "*"],
    ["m.space.child", "*"],
]
_ON = {"enabled": True}
_EXTENSIONS = {"account_data": _ON, "receipts": _ON, "typing": _ON}


@dataclass
class Connection:
    """A connection of the room list, as Element X holds it."""

    client: Client
    last: int
    pos: str | None = None
    extensions: dict[str, Any] = field(default_factory=lambda: _EXTENSIONS)

    async def sync(self) -> Any:
        listed = {"timeline_limit": 1, "required_state": _STATE, "filters": {"not_room_types": ["m.space"]}}
        body = {
            "conn_id": "room-list",
            "lists": {"all_rooms": {"ranges": [[0, self.last]], **listed}},
            "extensions": self.extensions,
        }
        query = {"timeout": "0"} | ({"pos": self.pos} if self.pos else {})
        url = f"{self.client.server}/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
        headers = {"Authorization": f"Bearer {self.client.token}"}
        async with self.client.session.post(url, data=orjson.dumps(body), params=query, headers=headers) as answer:
            found = orjson.loads(await answer.read())
        self.pos = found["pos"]
        return found

    async def begin(self) -> Any:
        self.pos = None
        return await self.sync()


async def _rooms(people: list[Client], count: int, messages: int) -> list[str]:
    """Rooms of everybody, each with some messages."""
    rooms: list[str] = []

    async def one(number: int) -> None:
        wanted = {"preset": "public_chat", "name": f"room {number}", "creation_content": {"org.example.number": number}}
        made = await people[0].call("POST", "/createRoom", wanted)
        room_id = str(made["room_id"])
        for person in people[1:]:
            await person.call("POST", f"/join/{room_id}", {})
        for message in range(messages):
            await people[message % len(people)].send(room_id)
        rooms.append(room_id)

    for start in range(0, count, 10):
        await asyncio.gather(*(one(number) for number in range(start, min(start + 10, count))))
    return rooms


async def _quiet(server: ServerProcess) -> None:
    """Wait until nothing goes on in the background: followers of the log have caught up."""
    for _ in range(300):
        before = server.cpu_ms()
        await asyncio.sleep(1)
        if server.cpu_ms() - before < 20:
            return


async def _measured(server: ServerProcess, people: list[Client], rooms: list[str], windows: list[int]) -> list[Figures]:
    count, client = len(rooms), people[1]
    figures = []
    for last in windows:
        connection = Connection(client, last)
        for name in ("first", "again"):
            title = f"initial sliding sync, {count} rooms, list 0-{last}, {name}"
            figures.append(await measure(server, title, [connection.begin], 1))
        quiet: list[Callable[[], Awaitable[Any]]] = [connection.sync] * 500
        figures.append(await measure(server, f"no-op, {count} rooms, list 0-{last}", quiet, 1))
        cpu, latencies = 0.0, []
        for number in range(200):
            await people[0].send(rooms[number % 10])
            one = await measure(server, "one", [connection.sync], 1)
            cpu += one.cpu_ms
            latencies += one.latencies_ms
        title = f"one change (in 10 of {count} rooms), list 0-{last}"
        figures.append(Figures(title, 200, cpu, latencies, sum(latencies) / 1000))
    return figures


async def many(server: ServerProcess, session: aiohttp.ClientSession) -> list[Figures]:
    """An account with 2,000 rooms."""
    people = await make_clients(server.url, session, "many", 2)
    rooms = await _rooms(people, 2_000, 1)
    # Nothing is in memory yet when the account is opened.
    server.stop()
    await server.start()
    # The process has answered others before, who are in none of these rooms.
    (stranger,) = await make_clients(server.url, session, "stranger", 1)
    await _rooms([stranger], 1, 1)
    await Connection(stranger, 19).begin()
    await _quiet(server)
    return await _measured(server, people, rooms, [19, 1_999])


async def some(server: ServerProcess, session: aiohttp.ClientSession) -> list[Figures]:
    """An account with 200 rooms of 20 members and 20 messages."""
    people = await make_clients(server.url, session, "some", 20)
    rooms = await _rooms(people, 200, 20)
    await _quiet(server)
    return await _measured(server, people, rooms, [19, 199])


SCENARIOS = {"many": many, "some": some}


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
