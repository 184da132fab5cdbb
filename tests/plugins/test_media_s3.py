"""The plugin that keeps media in object storage, against moto's server."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from object_store import BUCKET, media_store, running_object_store, s3_client, s3_settings
from plugin_kit import server_with
from server_process import free_port

from homeserver.plugin_api import MatrixError, PluginError
from homeserver.plugin_api.loader import find_plugins
from homeserver_config import ConfigError, read_settings
from homeserver_plugins.media_s3.plugin import open_client
from homeserver_plugins.media_s3.settings import S3Settings
from homeserver_plugins.media_s3.store import S3MediaStore

PART = 5 * 1024 * 1024


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_object_store() as url:
        yield url


@pytest.fixture
async def client(url: str) -> AsyncIterator[Any]:
    async with s3_client(url) as client:
        yield client


@pytest.fixture
def store(client: Any, url: str) -> S3MediaStore:
    return media_store(client, url, part_size=PART)


async def chunks(*data: bytes) -> AsyncIterator[bytes]:
    for chunk in data:
        yield chunk


async def broken(*data: bytes) -> AsyncIterator[bytes]:
    for chunk in data:
        yield chunk
    raise ConnectionResetError


async def read(store: S3MediaStore, media_id: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in await store.open(media_id, start, end)])


async def keys(client: Any) -> list[str]:
    return [found["Key"] for found in (await client.list_objects_v2(Bucket=BUCKET)).get("Contents", ())]


async def test_what_is_stored_can_be_read(store: S3MediaStore) -> None:
    await store.store("abc", chunks(b"one ", b"two"))
    assert await read(store, "abc") == b"one two"
    assert await read(store, "abc", 4) == b"two"
    assert await read(store, "abc", 1, 5) == b"ne t"
    assert await read(store, "abc", 0, 1) == b"o"
    assert await read(store, "abc", 3, 3) == b""
    assert await read(store, "abc", 100) == b""
    assert await store.exists("abc")
    assert not await store.exists("abd")


async def test_the_empty_file_is_a_file(store: S3MediaStore) -> None:
    await store.store("empty", chunks())
    assert await store.exists("empty")
    assert await read(store, "empty") == b""


async def test_storing_again_replaces_and_deleting_forgets(store: S3MediaStore) -> None:
    await store.store("thumbnails/abc.1x1", chunks(b"old"))
    await store.store("thumbnails/abc.1x1", chunks(b"new"))
    assert await read(store, "thumbnails/abc.1x1") == b"new"
    await store.delete("thumbnails/abc.1x1")
    await store.delete("thumbnails/abc.1x1")
    for start, end in ((0, None), (0, 0), (1, 2)):
        with pytest.raises(KeyError):
            await store.open("thumbnails/abc.1x1", start, end)


@pytest.mark.parametrize("length", [PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 1])
async def test_every_length_arrives_whole(store: S3MediaStore, client: Any, length: int) -> None:
    data = (bytes(range(251)) * (length // 251 + 1))[:length]
    pieces = [data[start : start + 1_000_003] for start in range(0, length, 1_000_003)]
    await store.store("large", chunks(*pieces))
    assert await read(store, "large") == data
    assert await read(store, "large", PART - 10, PART + 10) == data[PART - 10 : PART + 10]
    etag = (await client.head_object(Bucket=BUCKET, Key="large"))["ETag"]
    assert ("-" in etag) == (length >= PART)  # S3's mark of objects in parts


async def test_an_upload_takes_the_memory_of_a_few_parts(store: S3MediaStore) -> None:
    async def many() -> AsyncIterator[bytes]:
        for _ in range(640):
            yield bytes(65_536)

    tracemalloc.start()
    try:
        await store.store("large", many())  # 40 MiB
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        pieces = [len(piece) async for piece in await store.open("large")]
    finally:
        tracemalloc.stop()
    assert most < 4 * PART, most
    assert sum(pieces) == 640 * 65_536
    assert max(pieces) <= 262_144


@pytest.mark.parametrize("length", [1_000, 2 * PART + 1])
async def test_a_failed_upload_leaves_nothing(store: S3MediaStore, client: Any, length: int) -> None:
    with pytest.raises(ConnectionResetError):
        await store.store("abc", broken(bytes(length)))
    assert await keys(client) == []
    assert "Uploads" not in await client.list_multipart_uploads(Bucket=BUCKET)


async def test_a_cancelled_upload_leaves_nothing(store: S3MediaStore, client: Any) -> None:
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield bytes(PART)
        yield bytes(PART)
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(store.store("abc", endless()))
    await begun.wait()
    assert len((await client.list_multipart_uploads(Bucket=BUCKET))["Uploads"]) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "Uploads" not in await client.list_multipart_uploads(Bucket=BUCKET)
    assert not await store.exists("abc")


@pytest.mark.parametrize(
    "media_id", ["", "/etc/passwd", "../secret", "a/../../secret", "a\x00b", "ä", "a b", "x" * 201]
)
async def test_what_is_no_id_never_reaches_the_bucket(store: S3MediaStore, client: Any, media_id: str) -> None:
    with pytest.raises(KeyError):
        await store.open(media_id)
    with pytest.raises(KeyError):
        await store.store(media_id, chunks(b"x"))
    with pytest.raises(KeyError):
        await store.delete(media_id)
    assert not await store.exists(media_id)
    assert await keys(client) == []


async def test_keys_begin_with_the_prefix_and_objects_are_encrypted(client: Any, url: str) -> None:
    await media_store(client, url, prefix="our/media/", encryption="AES256").store("abc", chunks(b"x"))
    await media_store(client, url, prefix="kms/", encryption="aws:kms", kms_key_id="k1").store(
        "abc", chunks(bytes(9_000_000))
    )
    first = await client.head_object(Bucket=BUCKET, Key="our/media/abc")
    assert first["ServerSideEncryption"] == "AES256"
    assert (first["ContentType"], first["ContentDisposition"]) == ("application/octet-stream", "attachment")
    second = await client.head_object(Bucket=BUCKET, Key="kms/abc")
    assert (second["ServerSideEncryption"], second["SSEKMSKeyId"]) == ("aws:kms", "k1")


async def test_links_are_signed_and_say_how_to_answer(client: Any, url: str) -> None:
    assert await media_store(client, url).find_link("abc", "image/png", "inline") is None
    store = media_store(client, url, redirect=True, redirect_lifetime="90s")
    await store.store("abc", chunks(b"bytes"))
    link = await store.find_link("abc", "image/png", 'inline; filename="a b.png"')
    assert link is not None
    assert "X-Amz-Expires=90" in link
    assert "X-Amz-Signature=" in link
    async with aiohttp.ClientSession() as session, session.get(link) as answer:
        assert await answer.read() == b"bytes"
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["content-disposition"] == 'inline; filename="a b.png"'
    cdn = media_store(client, url, redirect=True, cdn_base_url="https://cdn.example.org/m", prefix="p/")
    assert await cdn.find_link("thumbnails/abc.1x1", "image/png", "inline") == (
        "https://cdn.example.org/m/p/thumbnails/abc.1x1"
    )


async def test_a_store_that_is_down_is_a_clear_error_and_no_missing_file() -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    settings = S3Settings.model_validate(s3_settings(nowhere))
    async with open_client(settings) as client:
        store = media_store(client, nowhere)
        for call in (store.open("abc"), store.exists("abc"), store.delete("abc"), store.store("abc", chunks(b"x"))):
            with pytest.raises(MatrixError) as caught:
                await call
            assert caught.value.status == 502


async def test_a_refusal_is_not_taken_for_a_missing_file(client: Any, url: str) -> None:
    store = media_store(client, url, bucket="no-such-bucket")
    with pytest.raises(MatrixError):
        await store.store("abc", chunks(b"x"))
    with pytest.raises(MatrixError):
        await store.delete("abc")


async def test_the_server_serves_from_it(client: Any, url: str, tmp_path: Path) -> None:
    plugins = [{"name": "media_s3", "settings": s3_settings(url, redirect=True)}]
    async with server_with(tmp_path, *plugins) as server:
        alice = await server.user("alice")
        made = await alice.client.post(
            "/_matrix/media/v3/upload",
            body=b"<script>",
            headers={"content-type": "text/html"},
            query={"filename": "page.html"},
        )
        path = "/_matrix/client/v1/media/download" + made.json["content_uri"].removeprefix("mxc:/")
        whole = await alice.client.get(path)
        assert (whole.status, whole.body) == (200, b"<script>")
        part = await alice.client.get(path, headers={"range": "bytes=1-6"})
        assert (part.status, part.body) == (206, b"script")
        sent = await alice.client.get(path, query={"allow_redirect": "true"})
        assert sent.status == 307
        assert sent.headers["cache-control"] == "no-store"
        async with aiohttp.ClientSession() as session, session.get(sent.headers["location"]) as answer:
            assert await answer.read() == b"<script>"
            assert answer.headers["content-disposition"] == 'attachment; filename="page.html"'
        head = await alice.client.request("HEAD", path, query={"allow_redirect": "true"})
        assert head.status == 200
        assert (await server.client.get(path, query={"allow_redirect": "true"})).status == 401


async def test_a_bucket_that_is_not_there_stops_the_start(url: str, tmp_path: Path) -> None:
    plugin = {"name": "media_s3", "settings": s3_settings(url, bucket="no-such-bucket")}
    with pytest.raises(PluginError, match="there is no bucket no-such-bucket"):
        async with server_with(tmp_path, plugin):
            pass


async def test_a_store_that_is_down_does_not_keep_the_chat_from_starting(tmp_path: Path) -> None:
    plugin = {"name": "media_s3", "settings": s3_settings(f"http://127.0.0.1:{free_port()}")}
    async with server_with(tmp_path, plugin) as server:
        alice = await server.user("alice")
        answer = await alice.client.post("/_matrix/media/v3/upload", body=b"x", headers={"content-type": "text/plain"})
        assert (answer.status, answer.json["errcode"]) == (502, "M_UNKNOWN")
        assert await alice.create_room()


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"access_key_id": None}, "belong together"),
        ({"kms_key_id": "k"}, "aws:kms"),
        ({"cdn_base_url": "https://cdn.example.org"}, "redirect"),
        ({"part_size": "1M"}, "5M"),
        ({"redirect_lifetime": "8d"}, "7d"),
        ({"bucket": ""}, "bucket"),
        ({"prefix": "a b"}, "prefix"),
    ],
)
def test_settings_that_do_not_fit_are_found(wrong: dict[str, Any], word: str, tmp_path: Path) -> None:
    file = tmp_path / "homeserver.yaml"
    settings = {key: value for key, value in s3_settings("http://127.0.0.1:1", **wrong).items() if value is not None}
    file.write_bytes(orjson.dumps({"plugins": [{"name": "media_s3", "settings": settings}]}))
    with pytest.raises(ConfigError, match=word):
        find_plugins(read_settings(file, {}).plugins)
