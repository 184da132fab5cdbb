"""`homeserver media migrate`: from the disk to object storage, as an admin does it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner
from object_store import BUCKET, media_store, running_object_store, s3_client, s3_settings
from pictures import encoded, gradient
from server_kit import running_server

from homeserver.cli import main

FILES = 12


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_object_store() as url:
        yield url


def plugins(url: str) -> list[dict[str, Any]]:
    return [{"name": "media_disk"}, {"name": "media_s3", "settings": s3_settings(url)}, {"name": "media_thumbnails"}]


async def upload(folder: Path, url: str) -> dict[str, bytes]:
    """Files on the disk by media id, one of them with a thumbnail."""
    files: dict[str, bytes] = {}
    async with running_server(folder, plugins=plugins(url), media={"store": "media_disk"}) as server:
        alice = await server.user("alice")
        contents = [f"file {number}".encode() * 1_000 for number in range(FILES - 1)]
        for data in [*contents, encoded(gradient(300, 300), "PNG")]:
            made = await alice.client.post("/_matrix/media/v3/upload", body=data, headers={"content-type": "image/png"})
            files[made.json["content_uri"].rpartition("/")[2]] = data
        path = f"/_matrix/client/v1/media/thumbnail/{made.json['content_uri'].removeprefix('mxc://')}"
        picture = await alice.client.get(path, query={"width": "32", "height": "32", "method": "crop"})
        assert picture.status == 200
    return files


def run_migration(folder: Path, url: str, *arguments: str) -> tuple[int, str]:
    file = folder / "homeserver.yaml"
    settings = {
        "server": {"server_name": "example.org", "data_directory": str(folder)},
        "database": {"url": f"sqlite:///{folder / 'test.db'}"},
        "plugins": plugins(url),
        "media": {"store": "media_disk"},
    }
    file.write_bytes(orjson.dumps(settings))
    result = CliRunner().invoke(main, ["media", "migrate", "-c", str(file), *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


async def migrate(folder: Path, url: str, source: str = "media_disk", target: str = "media_s3") -> tuple[int, str]:
    return await asyncio.to_thread(run_migration, folder, url, "--from", source, "--to", target)


async def test_everything_is_copied_once(tmp_path: Path, url: str) -> None:
    async with s3_client(url) as client:
        files = await upload(tmp_path, url)
        status, said = await migrate(tmp_path, url)
        assert status == 0, said
        stored = (await client.list_objects_v2(Bucket=BUCKET))["Contents"]
        made = len(stored) - FILES
        assert made >= 1  # thumbnails
        assert f"Copied {len(stored)} files" in said
        assert "media.store: media_s3" in said
        store = media_store(client, url)
        for media_id, data in files.items():
            assert b"".join([chunk async for chunk in await store.open(media_id)]) == data

        await client.delete_object(Bucket=BUCKET, Key=next(iter(files)))
        status, said = await migrate(tmp_path, url)
        assert status == 0
        assert f"Copied 1 files (6000 bytes); {len(stored) - 1} were there already." in said

    async with running_server(tmp_path, plugins=plugins(url), media={"store": "media_s3"}) as server:
        alice = await server.user("alice")
        media_id = next(iter(files))
        answer = await alice.client.get(f"/_matrix/client/v1/media/download/example.org/{media_id}")
        assert answer.body == files[media_id]


async def test_lost_and_damaged_files_are_named_and_not_copied(tmp_path: Path, url: str) -> None:
    async with s3_client(url) as client:
        files = await upload(tmp_path, url)
        lost, damaged, *_ = files
        places = {path.name: path for path in (tmp_path / "plugins").rglob("*") if path.is_file()}
        os.unlink(places[lost])
        places[damaged].write_bytes(b"x" * len(files[damaged]))
        status, said = await migrate(tmp_path, url)
        assert status == 1
        assert f"FAULT  {lost}: it is not in the store it should be in" in said
        assert f"FAULT  {damaged}: its bytes are not those that were uploaded" in said
        assert "2 files were not copied" in said
        store = media_store(client, url)
        assert not await store.exists(damaged)
        assert [await store.exists(media_id) for media_id in files] == [False, False, *[True] * (FILES - 2)]


async def test_stores_that_are_not_there_are_refused(tmp_path: Path, url: str) -> None:
    status, said = await migrate(tmp_path, url, target="media_tape")
    assert status == 1
    assert "media_tape" in said
    status, said = await migrate(tmp_path, url, target="media_disk")
    assert status == 1
    assert "same plugin" in said
