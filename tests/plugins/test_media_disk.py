"""The plugin that keeps media on the disk."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from homeserver_plugins.media_disk import DiskMediaStore


@pytest.fixture
async def store(tmp_path: Path) -> DiskMediaStore:
    store = DiskMediaStore(tmp_path / "media")
    await store.prepare(now_ms=0)
    return store


async def chunks(*data: bytes) -> AsyncIterator[bytes]:
    for chunk in data:
        yield chunk


async def broken(*data: bytes) -> AsyncIterator[bytes]:
    for chunk in data:
        yield chunk
    raise ConnectionResetError


async def read(store: DiskMediaStore, media_id: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in await store.open(media_id, start, end)])


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_what_is_stored_can_be_read(store: DiskMediaStore) -> None:
    await store.store("abc", chunks(b"one ", b"two"))
    assert await read(store, "abc") == b"one two"
    assert await read(store, "abc", 4) == b"two"
    assert await read(store, "abc", 1, 5) == b"ne t"
    assert await read(store, "abc", 3, 3) == b""
    assert await store.exists("abc")
    assert not await store.exists("abd")


async def test_large_files_are_read_in_bounded_pieces(store: DiskMediaStore) -> None:
    piece = bytes(range(256)) * 256
    await store.store("large", chunks(*[piece] * 40))
    pieces = [chunk async for chunk in await store.open("large", 100_001, 2_000_003)]
    assert b"".join(pieces) == (piece * 40)[100_001:2_000_003]
    assert max(map(len, pieces)) <= 262_144


async def test_storing_again_replaces_and_deleting_forgets(store: DiskMediaStore) -> None:
    await store.store("thumbnails/abc.1x1", chunks(b"old"))
    await store.store("thumbnails/abc.1x1", chunks(b"new"))
    assert await read(store, "thumbnails/abc.1x1") == b"new"
    await store.delete("thumbnails/abc.1x1")
    await store.delete("thumbnails/abc.1x1")
    with pytest.raises(KeyError):
        await store.open("thumbnails/abc.1x1")


async def test_a_failed_upload_leaves_nothing(store: DiskMediaStore, tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError):
        await store.store("abc", broken(b"x" * 2_000_000))
    assert not await store.exists("abc")
    assert files(tmp_path) == []


async def test_a_cancelled_upload_leaves_nothing(store: DiskMediaStore, tmp_path: Path) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    task = asyncio.create_task(store.store("abc", endless()))
    await asyncio.sleep(0.05)
    assert len(files(tmp_path)) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files(tmp_path) == []


async def test_readers_see_all_of_it_or_nothing(store: DiskMediaStore) -> None:
    written, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * 2_000_000
        written.set()
        await go_on.wait()
        yield b"y"

    task = asyncio.create_task(store.store("abc", slow()))
    await written.wait()
    assert not await store.exists("abc")
    go_on.set()
    await task
    assert (await read(store, "abc")).endswith(b"xy")


async def test_what_a_crash_left_is_removed_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "unfinished").mkdir()
    for name, modified_s in (("abandoned", 1_000), ("of another process", 50_000)):
        (tmp_path / "unfinished" / name).write_bytes(b"half")
        os.utime(tmp_path / "unfinished" / name, (modified_s, modified_s))
    await DiskMediaStore(tmp_path).prepare(now_ms=100_000_000)
    assert [path.name for path in files(tmp_path)] == ["of another process"]


NO_IDS = ["", ".", "/", "/etc/passwd", "../secret", "a/../../secret", "..", "a\x00b", "a\\b", "ä", "a b", "~", "a\n"]


@pytest.mark.parametrize("media_id", [*NO_IDS, "x" * 201])
async def test_no_id_leads_out_of_the_directory(store: DiskMediaStore, media_id: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    with pytest.raises(KeyError):
        await store.open(media_id)
    with pytest.raises(KeyError):
        await store.store(media_id, chunks(b"x"))
    with pytest.raises(KeyError):
        await store.delete(media_id)
    assert not await store.exists(media_id)
    assert files(tmp_path) == [tmp_path / "secret"]


@pytest.mark.parametrize("media_id", ["a/", "a.", "a/b/c", "-", "unfinished"])
async def test_odd_ids_stay_inside(store: DiskMediaStore, media_id: str, tmp_path: Path) -> None:
    await store.store(media_id, chunks(b"x"))
    assert await read(store, media_id) == b"x"
    [place] = files(tmp_path)
    assert place.parents[2] == tmp_path / "media"


async def test_many_at_once(store: DiskMediaStore) -> None:
    await asyncio.gather(*(store.store(f"m{number}", chunks(str(number).encode())) for number in range(30)))
    assert [await read(store, f"m{number}") for number in range(30)] == [str(n).encode() for n in range(30)]
