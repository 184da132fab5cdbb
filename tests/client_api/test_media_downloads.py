"""Downloads over HTTP: headers, ranges, caches, quarantine, other servers, and clients without a login."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
from media_app import LEGACY, V1, MediaApp, running_media, uploaded

DATA = bytes(range(256)) * 4


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[MediaApp]:
    async with running_media(tmp_path, media={"max_download_size": "100K", "remote_lifetime": "1d"}) as running:
        yield running


async def test_headers_that_make_files_harmless(app: MediaApp) -> None:
    alice = await app.user()
    page = await alice.get(f"{V1}/download{await uploaded(alice, b'<script>', 'text/html', 'page.html')}")
    assert page.headers["content-disposition"] == 'attachment; filename="page.html"'
    assert page.headers["content-security-policy"].startswith("sandbox; default-src 'none'; script-src 'none';")
    assert page.headers["cross-origin-resource-policy"] == "cross-origin"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["access-control-allow-origin"] == "*"
    assert page.headers["content-type"] == "text/html"
    svg = await alice.get(f"{V1}/download{await uploaded(alice, b'<svg/>', 'image/svg+xml')}")
    assert svg.headers["content-disposition"] == "attachment"
    photo = await alice.get(f"{V1}/download{await uploaded(alice, b'x', 'Image/PNG')}")
    assert photo.headers["content-disposition"] == "inline"


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("a b.txt", 'filename="a b.txt"'),
        ('a"b\\c', "filename*=utf-8''a%22b%5Cc"),
        ("naïve 日本.png", "filename*=utf-8''na%C3%AFve%20%E6%97%A5%E6%9C%AC.png"),
        ("x\r\nSet-Cookie: a=b", "filename*=utf-8''x%0D%0ASet-Cookie%3A%20a%3Db"),
        ("../../etc/passwd", 'filename="../../etc/passwd"'),
        ("a;b=c", 'filename="a;b=c"'),
    ],
)
async def test_file_names_whatever_is_in_them(app: MediaApp, name: str, written: str) -> None:
    alice = await app.user()
    path = await uploaded(alice, b"x", "application/pdf", name)
    answer = await alice.get(f"{V1}/download{path}")
    assert answer.headers["content-disposition"] == f"attachment; {written}"
    assert "set-cookie" not in answer.headers
    renamed = await alice.get(f"{V1}/download{path}/{quote(name, safe='')}")
    assert renamed.headers["content-disposition"] == f"attachment; {written}"


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=1000-", 1000, 1024),
        ("bytes=-24", 1000, 1024),
        ("bytes=1023-9999", 1023, 1024),
        ("bytes=-9999", 0, 1024),
    ],
)
async def test_ranges(app: MediaApp, wanted: str, start: int, end: int) -> None:
    alice = await app.user()
    path = await uploaded(alice, DATA, "video/mp4")
    answer = await alice.get(f"{V1}/download{path}", headers={"range": wanted})
    assert (answer.status, answer.body) == (206, DATA[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/1024"
    assert answer.headers["content-length"] == str(end - start)


@pytest.mark.parametrize("wanted", ["bytes=1024-", "bytes=5000-6000", "bytes=-0"])
async def test_ranges_that_cannot_be_had(app: MediaApp, wanted: str) -> None:
    alice = await app.user()
    path = await uploaded(alice, DATA, "video/mp4")
    answer = await alice.get(f"{V1}/download{path}", headers={"range": wanted})
    assert (answer.status, answer.headers["content-range"]) == (416, "bytes */1024")


@pytest.mark.parametrize("wanted", ["bytes=5-2", "bytes=a-b", "lines=1-2", "bytes=0-1,4-5", "bytes=-", ""])
async def test_ranges_that_are_none_are_ignored(app: MediaApp, wanted: str) -> None:
    alice = await app.user()
    path = await uploaded(alice, DATA, "video/mp4")
    answer = await alice.get(f"{V1}/download{path}", headers={"range": wanted})
    assert (answer.status, answer.body, answer.headers["accept-ranges"]) == (200, DATA, "bytes")


async def test_what_the_client_has_is_not_sent_again(app: MediaApp) -> None:
    alice = await app.user()
    path = await uploaded(alice, DATA, "video/mp4")
    first = await alice.get(f"{V1}/download{path}")
    etag = first.headers["etag"]
    assert first.headers["cache-control"] == "private, max-age=86400, immutable"
    for names in (etag, f'"x", W/{etag}', "*"):
        again = await alice.get(f"{V1}/download{path}", headers={"if-none-match": names})
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", etag)
    assert (await alice.get(f"{V1}/download{path}", headers={"if-none-match": '"x"'})).status == 200
    ranged = {"range": "bytes=0-1"}
    assert (await alice.get(f"{V1}/download{path}", headers={**ranged, "if-range": etag})).status == 206
    assert (await alice.get(f"{V1}/download{path}", headers={**ranged, "if-range": '"x"'})).status == 200


async def test_head(app: MediaApp) -> None:
    alice = await app.user()
    path = await uploaded(alice, DATA, "video/mp4")
    answer = await alice.request("HEAD", f"{V1}/download{path}")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "1024")
    part = await alice.request("HEAD", f"{V1}/download{path}", headers={"range": "bytes=0-9"})
    assert (part.status, part.headers["content-length"]) == (206, "10")


async def test_an_empty_file(app: MediaApp) -> None:
    alice = await app.user()
    answer = await alice.get(f"{V1}/download{await uploaded(alice, b'', 'text/plain')}")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")


@pytest.mark.parametrize(
    "path", ["/example.org/nothing", "/example.org/..%2F..%2Fetc", "/..%2Fx/abc", "/exa mple/abc".replace(" ", "%20")]
)
async def test_what_is_not_there(app: MediaApp, path: str) -> None:
    alice = await app.user()
    answer = await alice.get(f"{V1}/download{path}")
    assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")


async def test_files_the_store_lost(app: MediaApp) -> None:
    alice = await app.user()
    path = await uploaded(alice, DATA, "video/mp4")
    app.stored_files()[0].unlink()
    answer = await alice.get(f"{V1}/download{path}")
    assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")


async def test_quarantine(app: MediaApp) -> None:
    alice = await app.user()
    path = await uploaded(alice, DATA, "image/png")
    _, server_name, media_id = path.split("/")
    await app.library.quarantine(server_name, media_id, "@admin:example.org")
    for url in (f"{V1}/download{path}", f"{V1}/thumbnail{path}?width=32&height=32"):
        answer = await alice.get(url)
        assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")
    await app.library.release(server_name, media_id)
    assert (await alice.get(f"{V1}/download{path}")).status == 200


async def test_deletion(app: MediaApp) -> None:
    alice = await app.user()
    path = await uploaded(alice, DATA, "image/png")
    await app.retention.delete(*path.split("/")[1:])
    assert (await alice.get(f"{V1}/download{path}")).status == 404
    assert app.stored_files() == []


async def test_media_of_other_servers_are_fetched_once(app: MediaApp) -> None:
    alice = await app.user()
    app.remote.files["elsewhere.org", "abc"] = ("image/gif", "a\x00 ä.gif", [b"GIF", b"89a"])
    url = f"{V1}/download/elsewhere.org/abc"
    answers = await asyncio.gather(*(alice.get(url) for _ in range(5)))
    assert {(answer.status, answer.body) for answer in answers} == {(200, b"GIF89a")}
    assert answers[0].headers["content-disposition"] == "inline; filename*=utf-8''a%20%C3%A4.gif"
    assert (await alice.get(url)).status == 200
    assert app.remote.asked == 1


async def test_other_servers_are_not_asked_when_the_client_forbids_it(app: MediaApp) -> None:
    alice = await app.user()
    app.remote.files["elsewhere.org", "abc"] = ("image/gif", None, [b"GIF89a"])
    url = f"{V1}/download/elsewhere.org/abc"
    answer = await alice.get(f"{url}?allow_remote=false")
    assert (answer.status, answer.json["errcode"], app.remote.asked) == (404, "M_NOT_FOUND", 0)
    await alice.get(url)
    assert (await alice.get(f"{url}?allow_remote=false")).status == 200


async def test_media_of_other_servers_that_cannot_be_had(app: MediaApp) -> None:
    alice = await app.user()
    app.remote.files["elsewhere.org", "large"] = ("image/gif", None, [b"x" * 50_000] * 3)
    large = await alice.get(f"{V1}/download/elsewhere.org/large")
    assert (large.status, large.json["errcode"]) == (502, "M_TOO_LARGE")
    assert app.stored_files() == []
    unknown = await alice.get(f"{V1}/download/elsewhere.org/unknown")
    assert (unknown.status, unknown.json["errcode"]) == (404, "M_NOT_FOUND")


async def test_copies_nobody_asks_for_go(app: MediaApp) -> None:
    alice = await app.user()
    for media_id in ("used", "unused"):
        app.remote.files["elsewhere.org", media_id] = ("image/gif", None, [b"GIF89a"])
        await alice.get(f"{V1}/download/elsewhere.org/{media_id}")
    own = await uploaded(alice, b"x", "text/plain")
    await app.library.flush_accesses()
    await app.clock.advance(80_000)
    await alice.get(f"{V1}/download/elsewhere.org/used")
    await app.library.flush_accesses()
    await app.clock.advance(10_000)
    await app.retention.run()
    assert len(app.stored_files()) == 2
    assert (await alice.get(f"{V1}/download{own}")).status == 200
    assert (await alice.get(f"{V1}/download/elsewhere.org/used?allow_remote=false")).status == 200
    assert (await alice.get(f"{V1}/download/elsewhere.org/unused?allow_remote=false")).status == 404


async def test_nothing_without_a_login(app: MediaApp) -> None:
    alice = await app.user()
    path = await uploaded(alice, DATA, "image/png")
    app.remote.files["elsewhere.org", "abc"] = ("image/gif", None, [b"GIF89a"])
    for url in (
        f"/download{path}",
        f"/download{path}/name",
        f"/thumbnail{path}?width=32&height=32",
        "/download/elsewhere.org/abc",
    ):
        for client in (app.client, alice):
            answer = await client.get(LEGACY + url)
            assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")
    assert app.remote.asked == 0


async def test_downloads_without_a_login_where_allowed(tmp_path: Path) -> None:
    async with running_media(tmp_path, media={"unauthenticated_downloads": True}) as app:
        alice = await app.user()
        path = await uploaded(alice, DATA, "image/png", "a.png")
        app.remote.files["elsewhere.org", "abc"] = ("image/gif", None, [b"GIF89a"])
        for version in ("v3", "r0", "v1"):
            answer = await app.client.get(f"/_matrix/media/{version}/download{path}")
            assert (answer.status, answer.body) == (200, DATA)
            assert answer.headers["cache-control"].startswith("public")
        named = await app.client.get(f"{LEGACY}/download{path}/b.png")
        assert named.headers["content-disposition"] == 'inline; filename="b.png"'
        assert (await app.client.get(f"{LEGACY}/download/elsewhere.org/abc")).body == b"GIF89a"
    async with running_media(tmp_path) as app:
        after = await app.client.get(f"{LEGACY}/download{path}")
        assert after.body == DATA, "what was public stays so"
