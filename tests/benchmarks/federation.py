"""What federation costs between two of our processes, over TLS on loopback.

Usage: python -m benchmarks.federation [messages] [join] [outage]
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
from federation.processes import FederatedProcess, two_processes
from server_process import Client, make_client, make_clients

from benchmarks.harness import measure
from homeserver.app import Homeserver
from homeserver.protocol.event_builder import EventDraft
from homeserver.storage.sqlite import SqliteDatabase
from homeserver_config.reader import read_settings

_MESSAGES = 2_000
_MISSED = 3_000
_PATIENCE_S = 300.0


async def _shared_room(
    one: FederatedProcess, other: FederatedProcess, session: aiohttp.ClientSession
) -> tuple[list[Client], Client, str]:
    senders = await make_clients(one.url, session, "sender", 20)
    receiver = await make_client(other.url, session, "receiver")
    made = await senders[0].call("POST", "/createRoom", {"preset": "public_chat", "name": "a room"})
    room_id = str(made["room_id"])
    for sender in senders[1:]:
        await sender.call("POST", f"/join/{room_id}", {})
    await receiver.call("POST", f"/join/{room_id}", {}, via=one.name)
    return senders, receiver, room_id


async def _has(client: Client, room_id: str, event_id: str) -> None:
    """Wait until a user's server shows an event."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        try:
            await client.call("GET", f"/rooms/{room_id}/event/{event_id}")
        except RuntimeError:
            await asyncio.sleep(0.05)
        else:
            return
    raise TimeoutError(f"{event_id} has not arrived")


async def messages(folder: Path) -> None:
    """From being sent by clients of one to standing in the log of the other."""
    async with two_processes(folder) as (one, other, session):
        senders, receiver, room_id = await _shared_room(one, other, session)
        await _has(receiver, room_id, await senders[0].send(room_id))
        before, started = other.cpu_ms(), time.perf_counter()
        jobs: list[Callable[[], Awaitable[Any]]] = [
            functools.partial(senders[number % 20].send, room_id) for number in range(_MESSAGES)
        ]
        figures = await measure(one, "sent", jobs, 20)
        await _has(receiver, room_id, await senders[0].send(room_id))
        seconds = time.perf_counter() - started
        print(
            f"{_MESSAGES} messages: sent in {figures.seconds:.1f} s, all there after {seconds:.1f} s "
            f"({_MESSAGES / seconds:.0f}/s); CPU ms each: sender {one.cpu_ms() and figures.cpu_ms / _MESSAGES:.2f}, "
            f"receiver {(other.cpu_ms() - before) / _MESSAGES:.2f}"
        )
        latencies = []
        for _ in range(50):
            began = time.perf_counter()
            await receiver.sync()
            waiting = asyncio.create_task(receiver.sync(10_000))
            await senders[0].send(room_id)
            await waiting
            latencies.append((time.perf_counter() - began) * 1000)
        print(f"one message at a time, from PUT to the other server's sync: median {sorted(latencies)[25]:.0f} ms")


async def join(folder: Path) -> None:
    """Joining rooms of many members through the server that has them."""
    for members in (500, 2_000):
        at = folder / str(members)
        at.mkdir()
        async with two_processes(at) as (one, other, session):
            one.stop()
            room_id = await _crowd(one, members)
            await one.start()
            receiver = await make_client(other.url, session, "receiver")
            before, resident, started = other.cpu_ms(), one.cpu_ms(), time.perf_counter()
            await receiver.call("POST", f"/join/{room_id}", {}, via=one.name)
            print(
                f"join of a room with {members} members: {time.perf_counter() - started:.2f} s; "
                f"CPU ms: joining {other.cpu_ms() - before:.0f}, resident {one.cpu_ms() - resident:.0f}"
            )


async def _crowd(server: FederatedProcess, members: int) -> str:
    """A public room with so many members, made over the server's database while it does not run."""
    settings = read_settings(server.config, {})
    database = SqliteDatabase(server.folder / "data" / "homeserver.db", synchronous="OFF")
    homeserver = Homeserver(settings, database=database)
    await homeserver.start()
    try:
        append = homeserver.rooms.append
        creator = f"@creator:{server.name}"
        await homeserver.accounts.accounts.create("creator")
        room_id = await _create_room(homeserver, creator)
        for first in range(0, members - 1, 100):
            users = [f"@member{number}:{server.name}" for number in range(first, min(first + 100, members - 1))]
            drafts = [
                EventDraft(room_id, "m.room.member", user, {"membership": "join"}, state_key=user) for user in users
            ]
            await append.append(room_id, lambda _, drafts=drafts: drafts)
        return room_id
    finally:
        await homeserver.stop()


async def _create_room(homeserver: Homeserver, creator: str) -> str:
    from homeserver.services.accounts.sessions import ClientDetails
    from homeserver.testing import AsgiClient

    session = await homeserver.accounts.sessions.begin(creator, ClientDetails(address="192.0.2.1"))
    client = AsgiClient(homeserver.asgi(homeserver.settings.listeners[0]), token=session.credentials.access_token)
    answer = await client.post("/_matrix/client/v3/createRoom", {"preset": "public_chat"})
    return str(answer.json["room_id"])


async def outage(folder: Path) -> None:
    """What a server missed while it was away comes when it is back, and in order."""
    async with two_processes(folder) as (one, other, session):
        senders, receiver, room_id = await _shared_room(one, other, session)
        other.stop()
        sent = [await senders[0].send(room_id) for _ in range(10)]
        waiting = list(range(_MISSED))

        async def send(sender: Client) -> None:
            while waiting:
                waiting.pop()
                await sender.send(room_id)

        await asyncio.gather(*(send(sender) for sender in senders))
        sent.append(await senders[0].send(room_id))
        await other.start()
        began = time.perf_counter()
        await _has(receiver, room_id, sent[-1])
        seconds = time.perf_counter() - began
        here, there = [await _history(client, room_id) for client in (senders[0], receiver)]
        missed = _MISSED + 11
        print(
            f"{missed} events missed: caught up {seconds:.1f} s after the start ({missed / seconds:.0f}/s), "
            f"{'all, in the same order' if here[:missed] == there[:missed] else 'NOT the same'}"
        )


async def _history(client: Client, room_id: str) -> list[str]:
    found: list[str] = []
    start: dict[str, str] = {}
    while len(found) < _MISSED + 20:
        page = await client.call("GET", f"/rooms/{room_id}/messages", dir="b", limit="100", **start)
        found += [event["event_id"] for event in page["chunk"]]
        if "end" not in page:
            break
        start = {"from": page["end"]}
    return found


SCENARIOS = {"messages": messages, "join": join, "outage": outage}


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", nargs="*", choices=[*SCENARIOS, []], default=[])
    options = parser.parse_args()
    for name in options.scenario or SCENARIOS:
        with tempfile.TemporaryDirectory(prefix="starling-") as folder:
            await SCENARIOS[name](Path(folder))


if __name__ == "__main__":
    asyncio.run(main())
