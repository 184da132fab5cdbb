"""Previews of web pages, fetched from a real web server on the loopback address."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from media_app import LEGACY, V1, MediaApp, running_media
from pictures import encoded, gradient

from homeserver.testing import Answer, AsgiClient

PICTURE = encoded(gradient(40, 30), "PNG")


@dataclass
class Site:
    """A web site: its pages by path, and how often each was asked for."""

    url: str = ""
    pages: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)

    async def answer(self, request: web.Request) -> web.Response:
        self.asked[request.path] += 1
        if request.path == "/moved":
            raise web.HTTPFound("/page")
        if request.path not in self.pages:
            raise web.HTTPNotFound
        body, content_type = self.pages[request.path]
        return web.Response(body=body, headers={"content-type": content_type})


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    application = web.Application()
    application.router.add_get("/{rest:.*}", site.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    site.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    site.pages["/page"] = (
        b"<meta property='og:title' content='T'><meta property='og:image' content='/p'>",
        "text/html",
    )
    site.pages["/p"] = (PICTURE, "image/png")
    yield site
    await runner.cleanup()


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[MediaApp]:
    media = {"url_previews": True, "url_preview_max_size": "500K"}
    async with running_media(tmp_path, media=media, outgoing={"ip_ranges_allowed": ["127.0.0.0/8"]}) as running:
        yield running


async def preview(client: AsgiClient, url: str) -> Answer:
    return await client.get(f"{V1}/preview_url", query={"url": url})


async def test_a_page_with_a_picture(app: MediaApp, site: Site) -> None:
    alice = await app.user()
    answer = await preview(alice, f"{site.url}/page")
    image = answer.json["og:image"]
    assert answer.json == {
        "og:title": "T",
        "og:image": image,
        "og:image:type": "image/png",
        "og:image:width": 40,
        "og:image:height": 30,
        "matrix:image:size": len(PICTURE),
    }
    picture = await alice.get(f"{V1}/download{image.removeprefix('mxc:/')}")
    assert (picture.body, picture.headers["content-type"]) == (PICTURE, "image/png")


async def test_previews_are_kept_for_a_while(app: MediaApp, site: Site) -> None:
    alice, bob = await app.user(), await app.user("bob")
    first = await asyncio.gather(*(preview(alice, f"{site.url}/page") for _ in range(3)))
    again = await bob.get(f"{LEGACY}/preview_url", query={"url": f"{site.url}/page#part"})
    assert {answer.body for answer in (*first, again)} == {first[0].body}
    assert site.asked["/page"] == 1
    await app.clock.advance(3_601)
    await preview(alice, f"{site.url}/page")
    assert site.asked["/page"] == 2


async def test_a_link_to_a_picture(app: MediaApp, site: Site) -> None:
    answer = await preview(await app.user(), f"{site.url}/p")
    assert (answer.json["og:image:type"], answer.json["matrix:image:size"]) == ("image/png", len(PICTURE))


async def test_redirects_are_followed(app: MediaApp, site: Site) -> None:
    assert (await preview(await app.user(), f"{site.url}/moved")).json["og:title"] == "T"


async def test_other_files_have_no_preview(app: MediaApp, site: Site) -> None:
    site.pages["/file"] = (b"%PDF", "application/pdf")
    answer = await preview(await app.user(), f"{site.url}/file")
    assert (answer.status, answer.json) == (200, {})


async def test_only_the_beginning_of_a_page_is_read(app: MediaApp, site: Site) -> None:
    site.pages["/long"] = (b"<title>T</title>" + b" " * 200_000 + b"<meta name=description content=late>", "text/html")
    assert (await preview(await app.user(), f"{site.url}/long")).json == {"og:title": "T"}


async def test_pictures_that_cannot_be_had_are_left_out(app: MediaApp, site: Site) -> None:
    alice = await app.user()
    site.pages["/huge"] = (b"\x89PNG" + bytes(600_000), "image/png")
    site.pages["/svg"] = (b"<svg/>", "image/svg+xml")
    for number, image in enumerate(("/huge", "/svg", "/missing", "http://10.1.2.3/x.png", "http://a:b@c/")):
        html = f"<title>T</title><meta property='og:image' content='{image}'>"
        site.pages[f"/{number}"] = (html.encode(), "text/html")
        assert (await preview(alice, f"{site.url}/{number}")).json == {"og:title": "T"}, image
    assert app.stored_files() == []


async def test_pages_that_cannot_be_had(app: MediaApp, site: Site) -> None:
    alice = await app.user()
    site.pages["/huge"] = (b" " * 600_000, "text/html")
    for url in (f"{site.url}/missing", f"{site.url}/huge", "http://127.0.0.1:1/", "http://169.254.169.254/"):
        for _ in range(2):
            answer = await preview(alice, url)
            assert (answer.status, answer.json["errcode"]) == (502, "M_UNKNOWN"), url
    assert site.asked["/missing"] == 1, "a failure is remembered for a minute"
    await app.clock.advance(61)
    await preview(alice, f"{site.url}/missing")
    assert site.asked["/missing"] == 2


NO_WEB_ADDRESSES = [
    "",
    "example.com",
    "ftp://example.com/",
    "file:///etc/passwd",
    "http://",
    "http://user:secret@example.com/",
    "http://a.example:99999/",
    "http://[::1",
    "javascript:alert(1)",
    "http://example.com/" + "x" * 2_048,
]


@pytest.mark.parametrize("url", NO_WEB_ADDRESSES)
async def test_what_is_no_web_address(app: MediaApp, url: str) -> None:
    answer = await preview(await app.user(), url)
    assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")


async def test_the_address_is_needed(app: MediaApp) -> None:
    alice = await app.user()
    assert (await alice.get(f"{V1}/preview_url")).json["errcode"] == "M_MISSING_PARAM"
    assert (await app.client.get(f"{V1}/preview_url", query={"url": "http://example.com"})).status == 401


async def test_the_own_network_is_out_of_bounds(tmp_path: Path, site: Site) -> None:
    async with running_media(tmp_path, media={"url_previews": True}) as app:
        answer = await preview(await app.user(), f"{site.url}/page")
        assert (answer.status, answer.json["errcode"]) == (502, "M_UNKNOWN")
        assert site.asked == {}


async def test_previews_are_off_by_default(tmp_path: Path, site: Site) -> None:
    async with running_media(tmp_path, outgoing={"ip_ranges_allowed": ["127.0.0.0/8"]}) as app:
        answer = await preview(await app.user(), f"{site.url}/page")
        assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
        assert site.asked == {}


async def test_pictures_of_previews_go_when_nobody_looks(app: MediaApp, site: Site) -> None:
    alice = await app.user()
    await preview(alice, f"{site.url}/page")
    assert len(app.stored_files()) == 1
    await app.clock.advance(8 * 86_400)
    await app.retention.run()
    assert app.stored_files() == []
