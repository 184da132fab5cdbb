"""Uploads over HTTP: at once and in two steps, their limits, and that failed ones leave nothing."""

from __future__ import annotations

import asyncio
import hashlib
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from media_app import LEGACY, V1, MediaApp, running_media, uploaded
from starlette.requests import ClientDisconnect

from homeserver.testing import AsgiClient

CREATE = "/_matrix/media/v1/create"


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[MediaApp]:
    async with running_media(tmp_path, media={"max_upload_size": "64K"}) as running:
        yield running


async def created(client: AsgiClient) -> str:
    answer = await client.post(CREATE, {})
    assert answer.status == 200
    return str(answer.json["content_uri"]).removeprefix("mxc:/")


async def test_upload_and_download(app: MediaApp) -> None:
    alice = await app.user()
    path = await uploaded(alice, b"hello", "text/plain; charset=utf-8", "hello.txt")
    assert path.startswith("/example.org/")
    answer = await alice.get(f"{V1}/download{path}")
    assert (answer.status, answer.body) == (200, b"hello")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["content-disposition"] == 'inline; filename="hello.txt"'


@pytest.mark.parametrize("version", ["v3", "r0", "v1"])
async def test_paths_of_old_clients(app: MediaApp, version: str) -> None:
    alice = await app.user()
    answer = await alice.post(f"/_matrix/media/{version}/upload", body=b"x")
    assert answer.status == 200
    assert (await alice.get(f"/_matrix/media/{version}/config")).json == {"m.upload.size": 65_536}
    assert (await alice.get(f"{V1}/config")).json == {"m.upload.size": 65_536}


async def test_uploads_need_a_login(app: MediaApp) -> None:
    assert (await app.client.post(f"{LEGACY}/upload", body=b"x")).status == 401
    assert (await app.client.post(CREATE, {})).status == 401
    assert (await app.client.get(f"{V1}/config")).status == 401
    assert (await app.client.get(f"{V1}/download/example.org/x")).status == 401
    assert app.stored_files() == []


@pytest.mark.parametrize("content_type", ["", "png", "image/png\x7f", "a/b; c", "x" * 300, "image/png, text/html"])
async def test_odd_content_types_are_unknown_bytes(app: MediaApp, content_type: str) -> None:
    alice = await app.user()
    path = await uploaded(alice, b"x", content_type)
    assert (await alice.get(f"{V1}/download{path}")).headers["content-type"] == "application/octet-stream"


async def test_too_large(app: MediaApp) -> None:
    alice = await app.user()
    announced = await alice.post(f"{LEGACY}/upload", body=b"x" * 65_537)
    found_out = await alice.post(f"{LEGACY}/upload", body=[b"x" * 65_536, b"x"], headers={"content-length": "5"})
    for answer in (announced, found_out):
        assert (answer.status, answer.json["errcode"]) == (413, "M_TOO_LARGE")
    assert app.stored_files() == []
    assert (await alice.post(f"{LEGACY}/upload", body=b"x" * 65_536)).status == 200


async def test_what_the_gate_refuses_leaves_nothing(app: MediaApp) -> None:
    alice = await app.user()
    for body, content_type in ((b"x", "application/x-forbidden"), (b"thirteen byte", "text/plain")):
        answer = await alice.post(f"{LEGACY}/upload", body=body, headers={"content-type": content_type})
        assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
    assert app.quota.asked == [
        ("@alice:example.org", "application/x-forbidden", 1),
        ("@alice:example.org", "text/plain", 13),
    ]
    assert app.stored_files() == []


async def test_a_client_that_goes_away_leaves_nothing(app: MediaApp) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise ClientDisconnect

    with pytest.raises(ClientDisconnect):
        await app.uploads.upload("@alice:example.org", "text/plain", None, broken())
    assert app.stored_files() == []


@pytest.mark.parametrize("filename", ["x" * 513, "a\x00b"])
async def test_impossible_file_names(app: MediaApp, filename: str) -> None:
    alice = await app.user()
    answer = await alice.post(f"{LEGACY}/upload", body=b"x", query={"filename": filename})
    assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")
    assert app.stored_files() == []


async def test_a_large_upload_takes_little_memory(tmp_path: Path) -> None:
    async with running_media(tmp_path) as app:
        alice = await app.user()
        chunk, count = bytes(range(256)) * 256, 320
        tracemalloc.start()
        answer = await alice.post(f"{LEGACY}/upload", body=[chunk] * count)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert answer.status == 200
        assert peak < 8_000_000
        [file] = app.stored_files()
        assert hashlib.sha256(file.read_bytes()).digest() == hashlib.sha256(chunk * count).digest()


async def test_many_uploads_at_once(app: MediaApp) -> None:
    alice = await app.user()
    paths = await asyncio.gather(*(uploaded(alice, f"file {n}".encode(), "text/plain") for n in range(20)))
    assert len(set(paths)) == 20
    answers = await asyncio.gather(*(alice.get(f"{V1}/download{path}") for path in paths))
    assert [answer.body for answer in answers] == [f"file {number}".encode() for number in range(20)]


async def test_upload_in_two_steps(app: MediaApp) -> None:
    alice = await app.user()
    answer = await alice.post(CREATE, {})
    assert answer.json["unused_expires_at"] == app.clock.now_ms() + 86_400_000
    path = answer.json["content_uri"].removeprefix("mxc:/")
    first = await alice.put(f"{LEGACY}/upload{path}", body=b"one", headers={"content-type": "text/plain"})
    assert (first.status, first.json) == (200, {})
    again = await alice.put(f"{LEGACY}/upload{path}", body=b"two")
    assert (again.status, again.json["errcode"]) == (409, "M_CANNOT_OVERWRITE_MEDIA")
    assert (await alice.get(f"{V1}/download{path}")).body == b"one"
    assert len(app.stored_files()) == 1


async def test_two_uploads_to_one_id_at_once(app: MediaApp) -> None:
    alice = await app.user()
    path = await created(alice)
    answers = await asyncio.gather(*(alice.put(f"{LEGACY}/upload{path}", body=body) for body in (b"one", b"two")))
    assert sorted(answer.status for answer in answers) == [200, 409]
    kept = b"one" if answers[0].status == 200 else b"two"
    assert (await alice.get(f"{V1}/download{path}")).body == kept
    assert len(app.stored_files()) == 1


async def test_ids_that_cannot_be_uploaded_to(app: MediaApp) -> None:
    alice, bob = await app.user(), await app.user("bob")
    path = await created(alice)
    others = await bob.put(f"{LEGACY}/upload{path}", body=b"x")
    assert (others.status, others.json["errcode"]) == (403, "M_FORBIDDEN")
    for unknown in ("/example.org/nothing", path.replace("example.org", "elsewhere.org")):
        answer = await alice.put(f"{LEGACY}/upload{unknown}", body=b"x")
        assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")
    too_large = await alice.put(f"{LEGACY}/upload{path}", body=b"x" * 65_537)
    assert (too_large.status, too_large.json["errcode"]) == (413, "M_TOO_LARGE")
    assert (await alice.put(f"{LEGACY}/upload{path}", body=b"x")).status == 200, "a failed upload can be repeated"


async def test_ids_expire(app: MediaApp) -> None:
    alice = await app.user()
    path = await created(alice)
    await app.clock.advance(86_401)
    answer = await alice.put(f"{LEGACY}/upload{path}", body=b"x")
    assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")
    assert (await alice.get(f"{V1}/download{path}")).status == 404
    await app.clock.advance(3_601)
    await app.retention.run()
    assert await app.retention.delete_of_user("@alice:example.org") == 0


async def test_waiting_ids_are_limited(app: MediaApp) -> None:
    alice, bob = await app.user(), await app.user("bob")
    paths = [await created(alice) for _ in range(3)]
    answer = await alice.post(CREATE, {})
    assert (answer.status, answer.json["errcode"]) == (429, "M_LIMIT_EXCEEDED")
    assert answer.json["retry_after_ms"] == 86_400_000
    await created(bob)
    await alice.put(f"{LEGACY}/upload{paths[0]}", body=b"x")
    await created(alice)


async def test_downloads_wait_for_the_upload(app: MediaApp) -> None:
    alice = await app.user()
    path = await created(alice)
    download = asyncio.create_task(alice.get(f"{V1}/download{path}"))
    await asyncio.sleep(0.05)
    assert not download.done()
    await alice.put(f"{LEGACY}/upload{path}", body=b"here")
    assert (await download).body == b"here"


async def test_downloads_do_not_wait_longer_than_asked(app: MediaApp) -> None:
    alice = await app.user()
    path = await created(alice)
    at_once = await alice.get(f"{V1}/download{path}?timeout_ms=0")
    assert (at_once.status, at_once.json["errcode"]) == (504, "M_NOT_YET_UPLOADED")
    waiting = asyncio.create_task(alice.get(f"{V1}/thumbnail{path}?timeout_ms=2500&width=32&height=32"))
    for _ in range(5):
        await asyncio.sleep(0.02)
        await app.clock.advance(0.5)
    assert (await waiting).json["errcode"] == "M_NOT_YET_UPLOADED"
    assert (await alice.get(f"{V1}/download{path}?timeout_ms=soon")).json["errcode"] == "M_INVALID_PARAM"


async def test_an_upload_to_another_process_is_found(app: MediaApp, tmp_path: Path) -> None:
    alice = await app.user()
    path = await created(alice)
    download = asyncio.create_task(alice.get(f"{V1}/download{path}"))
    await asyncio.sleep(0.05)
    app.library._arrivals._waiting.clear()  # this process hears nothing
    media_id = path.rpartition("/")[2]

    async def body() -> AsyncIterator[bytes]:
        yield b"from elsewhere"

    await app.uploads.upload_to("@alice:example.org", "example.org", media_id, None, None, body())
    app.library._arrivals._waiting[media_id] = set()
    await app.clock.advance(1.1)
    assert (await download).body == b"from elsewhere"
