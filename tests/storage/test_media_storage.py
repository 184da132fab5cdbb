"""The repositories of media, thumbnails and previews, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from homeserver.storage import media, media_thumbnails, url_previews
from homeserver.storage.database import Database
from homeserver.storage.media import Media, StoredBytes
from homeserver.storage.media_thumbnails import StoredThumbnail
from homeserver.storage.postgres import PostgresDatabase
from homeserver.storage.sqlite import SqliteDatabase

ALICE, SERVER = "@alice:example.org", "example.org"
STORED = StoredBytes("store-1", 12, b"hash", 640, 480, animated=True)
WAITING = Media(SERVER, "waiting", "upload", ALICE, "application/octet-stream", None, 1_000, 1_000, expires_ms=5_000)
REMOTE = Media("elsewhere.org", "copy", "remote", None, "image/png", "ä.png", 1_000, 1_000, size=7, store_id="store-2")


@pytest.fixture(params=["sqlite", "postgres"])
def closed_database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    if request.param == "sqlite":
        return SqliteDatabase(tmp_path / "test.db", synchronous="OFF")
    return PostgresDatabase(request.getfixturevalue("fresh_postgres_url"))


@pytest.fixture
async def database(closed_database: Database) -> AsyncIterator[Database]:
    await closed_database.open()
    yield closed_database
    await closed_database.close()


async def test_a_row_comes_back_as_it_was(database: Database) -> None:
    assert await database.write(media.create_media, REMOTE)
    assert await database.read(media.find_media, REMOTE.key) == REMOTE
    assert await database.read(media.find_media, (SERVER, "copy")) is None
    assert not await database.write(media.create_media, replace(REMOTE, size=8))
    assert await database.read(media.find_media, REMOTE.key) == REMOTE


async def test_an_upload_is_finished_once(database: Database) -> None:
    await database.write(media.reserve_media, WAITING, 5)
    assert await database.write(media.finish_upload, WAITING.key, "image/gif", "a.gif", STORED)
    assert not await database.write(media.finish_upload, WAITING.key, "text/plain", None, replace(STORED, size=1))
    found = await database.read(media.find_media, WAITING.key)
    assert found is not None
    assert found.is_uploaded
    assert (found.content_type, found.filename, found.size, found.sha256) == ("image/gif", "a.gif", 12, b"hash")
    assert (found.width, found.height, found.animated, found.expires_ms) == (640, 480, True, None)
    assert await database.read(media.load_usage, ALICE) == (1, 12)


async def test_waiting_ids_are_bounded_and_expire(database: Database) -> None:
    assert await database.write(media.reserve_media, WAITING, 1) is None
    second = replace(WAITING, media_id="second", expires_ms=9_000)
    assert await database.write(media.reserve_media, second, 1) == 5_000
    assert await database.read(media.find_media, second.key) is None
    later = replace(second, created_ms=5_001)
    assert await database.write(media.reserve_media, later, 1) is None
    assert await database.write(media.delete_expired, 9_000) == 1
    assert await database.read(media.find_media, WAITING.key) is None
    assert await database.read(media.find_media, later.key) == later


async def test_finished_uploads_do_not_expire(database: Database) -> None:
    await database.write(media.reserve_media, WAITING, 5)
    await database.write(media.finish_upload, WAITING.key, "text/plain", None, STORED)
    assert await database.write(media.delete_expired, 1_000_000) == 0


async def test_accesses_and_what_is_unused(database: Database) -> None:
    other = replace(REMOTE, media_id="other")
    for row in (REMOTE, other, WAITING):
        await database.write(media.create_media, row)
    await database.write(media.touch_media, {REMOTE.key: 9_000, ("nowhere", "x"): 9_000})
    await database.write(media.touch_media, {REMOTE.key: 8_000})
    assert [row.media_id for row in await database.read(media.load_unused, "remote", 9_000, 10)] == ["other"]
    assert [row.media_id for row in await database.read(media.load_unused, "upload", 9_000, 10)] == ["waiting"]
    assert len(await database.read(media.load_unused, "remote", 9_001, 1)) == 1


async def test_quarantine_and_deletion(database: Database) -> None:
    await database.write(media.create_media, REMOTE)
    assert await database.write(media.set_quarantined_by, REMOTE.key, ALICE)
    assert await database.read(media.find_media, REMOTE.key) == replace(REMOTE, quarantined_by=ALICE)
    assert await database.write(media.set_quarantined_by, REMOTE.key, None)
    assert not await database.write(media.set_quarantined_by, (SERVER, "x"), ALICE)
    await database.write(media.delete_media, REMOTE.key)
    assert await database.read(media.find_media, REMOTE.key) is None


async def test_media_of_a_user_newest_first(database: Database) -> None:
    for number in range(4):
        await database.write(media.create_media, replace(WAITING, media_id=f"m{number}", created_ms=number))
    assert [row.media_id for row in await database.read(media.load_media_of_user, ALICE, 3, 2)] == ["m2", "m1"]
    assert await database.read(media.load_media_of_user, "@bob:example.org", 9, 9) == []


async def test_thumbnails(database: Database) -> None:
    small = StoredThumbnail(32, 32, "crop", False, "image/png", 5, "thumbnails/a")
    large = StoredThumbnail(320, 240, "scale", False, "image/jpeg", 50, "thumbnails/b")
    await database.write(media_thumbnails.store_thumbnails, REMOTE.key, [large, small])
    await database.write(media_thumbnails.store_thumbnails, REMOTE.key, [replace(small, size=6)])
    await database.write(media_thumbnails.store_thumbnails, WAITING.key, [])
    assert await database.read(media_thumbnails.load_thumbnails, REMOTE.key) == [replace(small, size=6), large]
    await database.write(media_thumbnails.delete_thumbnails, REMOTE.key)
    assert await database.read(media_thumbnails.load_thumbnails, REMOTE.key) == []


async def test_previews_are_bounded_in_age_and_number(database: Database) -> None:
    for number in range(4):
        await database.write(url_previews.store_preview, f"https://example.com/{number}", b"{}", number, 3)
    kept = [await database.read(url_previews.find_preview, f"https://example.com/{n}", 0) for n in range(4)]
    assert kept == [None, b"{}", b"{}", b"{}"]
    assert await database.read(url_previews.find_preview, "https://example.com/2", 3) is None
    await database.write(url_previews.store_preview, "https://example.com/1", b"[]", 9, 3)
    await database.write(url_previews.delete_old_previews, 3)
    assert await database.read(url_previews.find_preview, "https://example.com/1", 0) == b"[]"
    assert await database.read(url_previews.find_preview, "https://example.com/3", 0) is None
