"""What plugins and push keep is kept alike on both databases."""

from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from homeserver.storage import followers, plugin_data, pushers
from homeserver.storage.database import Database, Transaction
from homeserver.storage.postgres import PostgresDatabase
from homeserver.storage.pushers import NewPusher, Queued
from homeserver.storage.sqlite import SqliteDatabase
from homeserver.storage.tables.pushers import push_queue

ALICE, BOB = "@alice:example.org", "@bob:example.org"


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """One of each kind, not yet open. Not async: the PostgreSQL fixture runs an event loop of its own."""
    if request.param == "sqlite":
        return SqliteDatabase(tmp_path / "test.db", synchronous="OFF")
    return PostgresDatabase(request.getfixturevalue("fresh_postgres_url"))


def pusher(user_id: str, pushkey: str, device_id: str | None = None) -> NewPusher:
    return NewPusher(user_id, "app", pushkey, "http", "App", "Phone", "en", {"url": "u"}, 1_000, None, device_id)


async def test_values_and_uses(database: Database) -> None:
    await database.open()
    try:
        await database.write(plugin_data.store_value, "one", "a_1", b"1", None)
        await database.write(plugin_data.store_value, "one", "a_1", b"2", None)
        await database.write(plugin_data.store_value, "one", "aX1", b"3", 500)
        await database.write(plugin_data.store_value, "two", "a_1", b"4", None)
        assert await database.read(plugin_data.load_values, "one", "a", 100) == {"a_1": 2, "aX1": 3}
        assert await database.read(plugin_data.load_values, "one", "a_", 100) == {"a_1": 2}
        assert await database.read(plugin_data.find_value, "one", "aX1", 500) is None
        assert await database.write(plugin_data.store_new_value, "one", "aX1", b"5", None, 500)
        assert not await database.write(plugin_data.store_new_value, "one", "aX1", b"6", None, 500)
        await database.write(plugin_data.store_value, "one", "old", b"7", 10)
        assert await database.write(plugin_data.delete_expired, 20) == 1
        assert await database.write(plugin_data.claim_use, "one", "k", 1)
        assert not await database.write(plugin_data.claim_use, "one", "k", 1)
        assert await database.write(plugin_data.claim_use, "two", "k", 1)
        await database.write(plugin_data.release_use, "one", "k")
        assert await database.write(plugin_data.claim_use, "one", "k", 1)
    finally:
        await database.close()


async def test_pushers_and_their_queues(database: Database) -> None:
    await database.open()
    try:
        first = await database.write(pushers.store_pusher, pusher(ALICE, "key", "PHONE"), append=False)
        again = await database.write(pushers.store_pusher, pusher(ALICE, "key", "PHONE"), append=False)
        other = await database.write(pushers.store_pusher, pusher(BOB, "key"), append=True)
        assert first == again
        assert await database.read(pushers.load_pusher_nids) == {ALICE: [first], BOB: [other]}
        queued = [Queued(first, position, f"${position}", {"sound": "ring"}, position) for position in (7, 8)]
        for _ in range(2):
            await database.write(pushers.queue_notifications, queued)
        assert await database.read(pushers.load_queued, first, 10) == queued
        assert await database.read(pushers.load_waiting) == [first]
        await database.write(pushers.set_retry, first, 3, 99)
        found = await database.read(pushers.find_pusher, first)
        assert found is not None
        assert (found.failures, found.retry_ms, found.data, found.device_id) == (3, 99, {"url": "u"}, "PHONE")
        await database.write(pushers.finish_queued, first, 7)
        found = await database.read(pushers.find_pusher, first)
        assert found is not None
        assert (found.failures, found.retry_ms) == (0, None)
        assert await database.write(pushers.drop_old, first, 8) == 0
        await database.write(pushers.delete_of_devices, ALICE, ["PHONE", "OTHER"])
        assert await database.read(pushers.load_pusher_nids) == {BOB: [other]}
        assert await database.read(_queue_length) == 0
        await database.write(pushers.delete_rejected, "app", ["key"])
        assert await database.read(pushers.load_pusher_nids) == {}
    finally:
        await database.close()


async def test_positions_of_followers(database: Database) -> None:
    await database.open()
    try:
        await database.write(_take_positions, 5)
        assert await database.write(followers.open_follower, "reader") == 5
        await database.write(followers.store_follower_position, "reader", 3)
        assert await database.write(followers.open_follower, "reader") == 3
        assert await database.read(followers.find_follower_position, "nobody") is None
    finally:
        await database.close()


def _take_positions(tx: Transaction, count: int) -> None:
    for _ in range(count):
        tx.next_position()


def _queue_length(connection: Connection) -> int:
    return len(connection.execute(select(push_queue)).all())
