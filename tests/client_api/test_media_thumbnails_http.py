"""Thumbnails over HTTP: parameters, which size is served, what is made how often, and what gets none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from media_app import LEGACY, V1, MediaApp, running_media, uploaded
from pictures import encoded, gradient, moving, opened, png_of_claimed_size

from homeserver.testing import Answer, AsgiClient

PHOTO = encoded(gradient(1200, 900), "JPEG")


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[MediaApp]:
    async with running_media(tmp_path) as running:
        yield running


async def thumbnail(client: AsgiClient, path: str, query: str) -> Answer:
    return await client.get(f"{V1}/thumbnail{path}?{query}")


def size_of(answer: Answer) -> tuple[int, int]:
    assert answer.status == 200, answer.body
    return opened(answer.body).size


async def test_sizes_are_never_smaller_than_asked_for(app: MediaApp) -> None:
    alice = await app.user()
    path = await uploaded(alice, PHOTO, "image/jpeg", "photo.jpg")
    served = {
        "width=1&height=1": (320, 240),
        "width=320&height=240&method=scale": (320, 240),
        "width=321&height=100": (640, 480),
        "width=800&height=600": (800, 600),
        "width=801&height=1": (1200, 900),
        "width=32&height=32&method=crop": (32, 32),
        "width=33&height=33&method=crop": (96, 96),
        "width=200&height=200&method=crop": (240, 240),
        "width=160&height=90&method=crop": (240, 135),
        "width=90&height=160&method=crop": (135, 240),
    }
    for query, size in served.items():
        assert size_of(await thumbnail(alice, path, query)) == size, query


async def test_larger_than_the_picture_is_the_picture(app: MediaApp) -> None:
    alice = await app.user()
    path = await uploaded(alice, PHOTO, "image/jpeg", "photo.jpg")
    for query in ("width=1200&height=900", "width=5000&height=5000&method=crop"):
        answer = await thumbnail(alice, path, query)
        assert (answer.body, answer.headers["content-type"]) == (PHOTO, "image/jpeg")
    beyond = await thumbnail(alice, path, "width=4000&height=10")
    assert size_of(beyond) == (1200, 900)


async def test_headers(app: MediaApp) -> None:
    alice = await app.user()
    path = await uploaded(alice, PHOTO, "image/jpeg", "photo.jpg")
    answer = await thumbnail(alice, path, "width=96&height=96&method=crop")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["content-disposition"] == 'inline; filename="thumbnail.jpg"'
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.headers["x-content-type-options"] == "nosniff"
    url = f"{V1}/thumbnail{path}?width=96&height=96&method=crop"
    assert (await alice.get(url, headers={"if-none-match": answer.headers["etag"]})).status == 304
    other = await thumbnail(alice, path, "width=32&height=32&method=crop")
    assert other.headers["etag"] != answer.headers["etag"]
    head = await alice.request("HEAD", url)
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(answer.body)))


@pytest.mark.parametrize(
    ("query", "errcode"),
    [
        ("height=10", "M_MISSING_PARAM"),
        ("width=10", "M_MISSING_PARAM"),
        ("width=0&height=10", "M_INVALID_PARAM"),
        ("width=-5&height=10", "M_INVALID_PARAM"),
        ("width=ten&height=10", "M_INVALID_PARAM"),
        ("width=1.5&height=10", "M_INVALID_PARAM"),
        ("width=&height=10", "M_INVALID_PARAM"),
        ("width=10&height=10&method=stretch", "M_INVALID_PARAM"),
        ("width=10&height=10&animated=maybe", "M_INVALID_PARAM"),
    ],
)
async def test_wrong_parameters(app: MediaApp, query: str, errcode: str) -> None:
    alice = await app.user()
    path = await uploaded(alice, PHOTO, "image/jpeg")
    answer = await thumbnail(alice, path, query)
    assert (answer.status, answer.json["errcode"]) == (400, errcode)


async def test_standard_sizes_are_made_together_and_once(app: MediaApp) -> None:
    alice = await app.user()
    path = await uploaded(alice, PHOTO, "image/jpeg")
    queries = ["width=32&height=32&method=crop", "width=96&height=96&method=crop", "width=800&height=600"]
    answers = await asyncio.gather(*(thumbnail(alice, path, query) for query in queries * 3))
    assert {answer.status for answer in answers} == {200}
    files = {file: file.stat().st_ino for file in app.stored_files()}
    assert len(files) == 6, "the photo and five thumbnails"
    await thumbnail(alice, path, "width=320&height=240")
    assert {file: file.stat().st_ino for file in app.stored_files()} == files


async def test_moving_pictures(app: MediaApp) -> None:
    alice = await app.user()
    path = await uploaded(alice, moving("GIF", 400, 300), "image/gif")
    for query in ("width=320&height=240", "width=320&height=240&animated=false", "width=900&height=900"):
        still = await thumbnail(alice, path, query)
        assert (still.status, still.headers["content-type"]) == (200, "image/jpeg"), query
    moves = await thumbnail(alice, path, "width=320&height=240&animated=true")
    assert moves.headers["content-type"] == "image/webp"
    assert getattr(opened(moves.body), "n_frames", 1) == 3
    itself = await thumbnail(alice, path, "width=900&height=900&animated=true")
    assert itself.headers["content-type"] == "image/gif"


async def test_still_pictures_asked_for_as_moving(app: MediaApp) -> None:
    alice = await app.user()
    path = await uploaded(alice, PHOTO, "image/jpeg")
    await thumbnail(alice, path, "width=320&height=240&animated=true")
    await thumbnail(alice, path, "width=320&height=240&animated=false")
    assert len(app.stored_files()) == 6


async def test_what_gets_no_thumbnail(app: MediaApp) -> None:
    alice = await app.user()
    broken = PHOTO[: len(PHOTO) // 3]
    for data, content_type in ((b"text", "text/plain"), (b"no png", "image/png"), (broken, "image/jpeg")):
        path = await uploaded(alice, data, content_type)
        for _ in range(2):
            answer = await thumbnail(alice, path, "width=32&height=32")
            assert (answer.status, answer.json["errcode"]) == (400, "M_UNKNOWN")
    missing = await thumbnail(alice, "/example.org/nothing", "width=32&height=32")
    assert (missing.status, missing.json["errcode"]) == (404, "M_NOT_FOUND")
    assert len(app.stored_files()) == 3


async def test_a_bomb_is_refused_from_its_header(app: MediaApp) -> None:
    alice = await app.user()
    path = await uploaded(alice, png_of_claimed_size(20_000, 20_000), "image/png")
    answer = await thumbnail(alice, path, "width=32&height=32")
    assert (answer.status, answer.json["errcode"]) == (413, "M_TOO_LARGE")
    assert app.thumbnailer.process_ids == []
    app.remote.files["elsewhere.org", "bomb"] = ("image/png", None, [png_of_claimed_size(20_000, 20_000)])
    remote = await thumbnail(alice, "/elsewhere.org/bomb", "width=32&height=32")
    assert (remote.status, remote.json["errcode"]) == (502, "M_TOO_LARGE")


async def test_the_type_a_picture_claims_does_not_matter(app: MediaApp) -> None:
    alice = await app.user()
    path = await uploaded(alice, encoded(gradient(50, 50), "PNG"), "application/octet-stream")
    answer = await thumbnail(alice, path, "width=100&height=100")
    assert (answer.headers["content-type"], answer.headers["content-disposition"][:6]) == ("image/jpeg", "inline")


async def test_pictures_of_other_servers(app: MediaApp) -> None:
    alice = await app.user()
    app.remote.files["elsewhere.org", "abc"] = ("image/jpeg", None, [PHOTO])
    assert size_of(await thumbnail(alice, "/elsewhere.org/abc", "width=96&height=96&method=crop")) == (96, 96)
    assert size_of(await thumbnail(alice, "/elsewhere.org/abc", "width=32&height=32&method=crop")) == (32, 32)
    assert app.remote.asked == 1


async def test_deleting_takes_the_thumbnails_along(app: MediaApp) -> None:
    alice = await app.user()
    path = await uploaded(alice, PHOTO, "image/jpeg")
    await thumbnail(alice, path, "width=96&height=96&method=crop")
    assert await app.retention.delete_of_user("@alice:example.org") == 1
    assert app.stored_files() == []
    assert (await thumbnail(alice, path, "width=96&height=96&method=crop")).status == 404


async def test_thumbnails_without_a_login(tmp_path: Path) -> None:
    async with running_media(tmp_path, media={"unauthenticated_downloads": True}) as app:
        alice = await app.user()
        path = await uploaded(alice, PHOTO, "image/jpeg")
        answer = await app.client.get(f"{LEGACY}/thumbnail{path}?width=32&height=32&method=crop")
        assert size_of(answer) == (32, 32)
