"""The servers that tests use: really there, on loopback, with databases that do not disturb one another."""

import asyncpg
import redis.asyncio
from servers import PostgresServer, SharedServers, find_postgres, find_redis


def plain(url: str) -> str:
    return url.replace("+asyncpg", "")


async def test_postgres_answers(postgres_url: str) -> None:
    connection = await asyncpg.connect(plain(postgres_url))
    assert await connection.fetchval("SHOW listen_addresses") == "127.0.0.1"
    assert await connection.fetchval("SELECT 'ä' || 'b'") == "äb"
    await connection.close()


async def test_every_test_gets_a_copy_of_the_template(postgres_server: PostgresServer) -> None:
    connection = await asyncpg.connect(plain(postgres_server.create_database("original")))
    await connection.execute("CREATE TABLE facts (fact text)")
    await connection.close()
    copies = [postgres_server.create_database(f"copy{number}", "original") for number in range(2)]
    first = await asyncpg.connect(plain(copies[0]))
    await first.execute("INSERT INTO facts VALUES ('mine')")
    second = await asyncpg.connect(plain(copies[1]))
    assert await second.fetchval("SELECT count(*) FROM facts") == 0
    await second.close()
    await first.close()
    for name in ("copy0", "copy1", "original"):
        postgres_server.drop_database(name)


async def test_the_schema_is_in_the_template(fresh_postgres_url: str) -> None:
    connection = await asyncpg.connect(plain(fresh_postgres_url))
    assert await connection.fetchval("SELECT value FROM positions WHERE name = 'log'") == 0
    await connection.close()


async def test_redis_answers(redis_url: str) -> None:
    client = redis.asyncio.Redis.from_url(redis_url)
    await client.set("key", "value")
    assert await client.get("key") == b"value"
    await client.delete("key")
    await client.aclose()


def test_stopping_ends_the_servers_and_leaves_nothing() -> None:
    shared = SharedServers.new()
    try:
        assert shared.redis() == shared.redis()
    finally:
        shared.stop()
    assert not shared.folder.exists()


def test_the_programs_are_found() -> None:
    assert (find_postgres() / "postgres").exists()
    assert find_redis().exists()
