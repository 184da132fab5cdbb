"""PostgreSQL restarts while people chat: clean errors for a moment, then all goes on; nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
from server_kit import Server, User, running_server

from homeserver.storage.postgres import PostgresDatabase
from homeserver.testing import path_of


async def end_all_connections(url: str) -> None:
    """What a restart or a fail-over does to clients of the database."""
    plain = url.replace("+asyncpg", "")
    connection: Any = await asyncpg.connect(plain)
    try:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    finally:
        await connection.close()


async def test_chat_survives_the_loss_of_every_connection(tmp_path: Path, fresh_postgres_url: str) -> None:
    async with running_server(tmp_path, PostgresDatabase(fresh_postgres_url)) as server:
        users = await server.users("alice", "bob")
        room_id = await users[0].create_room(preset="public_chat")
        await users[1].join(room_id)
        statuses: list[int] = []
        chatting = [asyncio.create_task(_chat(user, room_id, statuses)) for user in users]
        for _ in range(3):
            await asyncio.sleep(0.15)
            await end_all_connections(fresh_postgres_url)
        acknowledged = [event_id for sent in await asyncio.gather(*chatting) for event_id in sent]
        assert set(statuses) <= {200, 503}
        assert statuses[-10:] == [200] * 10
        heard = await _all_events(server, users[0], room_id)
        assert set(acknowledged) <= set(heard)
        assert len(heard) == len(set(heard)) == len(acknowledged)


async def _chat(user: User, room_id: str, statuses: list[int]) -> list[str]:
    sent: list[str] = []
    for number in range(60):
        path = path_of("rooms", room_id, "send", "m.room.message", f"{user.user_id} {number}")
        for _ in range(50):
            answer = await user.ask("PUT", path, {"msgtype": "m.text", "body": str(number)})
            statuses.append(answer.status)
            if answer.status == 200:
                sent.append(answer.json["event_id"])
                break
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.005)
    return sent


async def _all_events(server: Server, user: User, room_id: str) -> list[str]:
    page = await user.messages(room_id, dir="b", limit="1000")
    return [event["event_id"] for event in page["chunk"] if event["type"] == "m.room.message"]
