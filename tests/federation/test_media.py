"""Media between servers: in two parts, from elsewhere, from old servers, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from federation.network import FakeServer, FederatedServer, Network
from pictures import encoded, gradient

from homeserver.runtime.http_client import RemoteFailure
from homeserver.testing import Answer
from homeserver_federation.multipart import MultipartReader, boundary_of, closing_of, opening_of

PLUGINS = {"plugins": ["homeserver_plugins.media_disk:Plugin", "homeserver_plugins.media_thumbnails:Plugin"]}
V1 = "/_matrix/federation/v1"


async def upload(server: FederatedServer, content: bytes, content_type: str, filename: str) -> str:
    """The media ID of an upload by alice."""
    alice = await server.user("alice")
    answer = await alice.client.post(
        f"/_matrix/media/v3/upload?filename={filename}", body=content, headers={"content-type": content_type}
    )
    return str(answer.json["content_uri"]).rpartition("/")[2]


async def download(server: FederatedServer, origin: str, media_id: str, **query: str) -> Answer:
    bob = await server.user("bob")
    return await bob.client.get(f"/_matrix/client/v1/media/download/{origin}/{media_id}", query=query)


async def test_a_file_goes_from_server_to_server(network: Network) -> None:
    alpha, beta = await network.add("alpha.test", **PLUGINS), await network.add("beta.test", **PLUGINS)
    content = bytes(range(256)) * 1000
    media_id = await upload(alpha, content, "text/plain", "n%C3%A4me.txt")
    answer = await download(beta, "alpha.test", media_id)
    assert answer.status == 200
    assert answer.body == content
    assert answer.headers["content-type"] == "text/plain"
    assert "n%C3%A4me.txt" in answer.headers["content-disposition"]
    await alpha.hang_up()
    assert (await download(beta, "alpha.test", media_id)).body == content


async def test_the_answer_has_two_parts_and_its_length(network: Network) -> None:
    alpha, gamma = await network.add("alpha.test", **PLUGINS), await network.add_fake("gamma.test")
    media_id = await upload(alpha, b"hello", "text/html", "x.html")
    status, headers, body = await gamma.ask_raw(alpha, "GET", f"{V1}/media/download/{media_id}")
    assert status == 200
    boundary = boundary_of(headers["content-type"])
    assert boundary is not None
    assert '"' not in headers["content-type"]
    assert int(headers["content-length"]) == len(body)
    metadata, file = body.split(f"--{boundary}".encode())[1:3]
    assert metadata == b"\r\nContent-Type: application/json\r\n\r\n{}\r\n"
    assert b"Content-Type: text/html\r\nContent-Disposition: attachment;" in file
    assert file.endswith(b"\r\n\r\nhello\r\n")


async def test_thumbnails(network: Network) -> None:
    alpha, gamma = await network.add("alpha.test", **PLUGINS), await network.add_fake("gamma.test")
    media_id = await upload(alpha, encoded(gradient(400, 300), "PNG"), "image/png", "x.png")
    target = f"{V1}/media/thumbnail/{media_id}"
    status, _, body = await gamma.ask_raw(alpha, "GET", f"{target}?width=32&height=32&method=crop")
    assert status == 200
    assert b"Content-Type: image/" in body
    for query in ("", "?width=32", "?width=0&height=5", "?width=a&height=5"):
        assert (await gamma.ask(alpha, "GET", target + query))[0] == 400


async def test_media_that_are_not_here(network: Network) -> None:
    alpha, gamma = await network.add("alpha.test", **PLUGINS), await network.add_fake("gamma.test")
    assert (await gamma.ask(alpha, "GET", f"{V1}/media/download/nothing"))[1]["errcode"] == "M_NOT_FOUND"
    alice = await alpha.user("alice")
    created = await alice.client.post("/_matrix/media/v1/create")
    media_id = created.json["content_uri"].rpartition("/")[2]
    status, answer = await gamma.ask(alpha, "GET", f"{V1}/media/download/{media_id}?timeout_ms=10")
    assert (status, answer["errcode"]) == (504, "M_NOT_YET_UPLOADED")
    beta = await network.add("beta.test", **PLUGINS)
    late = await download(beta, "alpha.test", media_id, timeout_ms="10")
    assert (late.status, late.json["errcode"]) == (504, "M_NOT_YET_UPLOADED")


async def test_only_our_own_media_are_given_out(network: Network) -> None:
    """What was copied from a third server is for our users."""
    alpha, beta = await network.add("alpha.test", **PLUGINS), await network.add("beta.test", **PLUGINS)
    media_id = await upload(alpha, b"hello", "text/plain", "x")
    await download(beta, "alpha.test", media_id)
    gamma = await network.add_fake("gamma.test")
    assert (await gamma.ask(beta, "GET", f"{V1}/media/download/{media_id}"))[0] == 404


async def played(network: Network, answer: web.Response | None) -> tuple[FederatedServer, FakeServer]:
    """A server, and a played one that answers a download like this."""
    alpha, beta = await network.add("alpha.test", **PLUGINS), await network.add_fake("beta.test")

    async def handle(request: web.Request) -> web.Response:
        assert answer is not None
        return answer

    if answer is not None:
        beta.routes["GET", f"{V1}/media/download/file"] = handle
    return alpha, beta


async def test_old_servers_are_asked_the_old_way(network: Network) -> None:
    alpha, beta = await played(network, None)

    async def legacy(request: web.Request) -> web.Response:
        assert request.query["allow_remote"] == "false"
        return web.Response(
            body=b"old", content_type="text/plain", headers={"Content-Disposition": 'inline; filename="a b.txt"'}
        )

    beta.routes["GET", "/_matrix/media/v3/download/beta.test/file"] = legacy
    answer = await download(alpha, "beta.test", "file")
    assert (answer.status, answer.body) == (200, b"old")
    assert "a b.txt" in answer.headers["content-disposition"]


def two_parts(headers: dict[str, str], content: bytes = b"", **frame: str) -> web.Response:
    body = opening_of("xyz", headers) + content + closing_of("xyz")
    return web.Response(body=body, headers={"Content-Type": frame.get("frame", "multipart/mixed; boundary=xyz")})


async def test_a_file_that_is_elsewhere(network: Network) -> None:
    cdn = await network.add_fake("cdn.test")

    async def serve(request: web.Request) -> web.Response:
        assert "Authorization" not in request.headers
        return web.Response(body=b"from the CDN", content_type="text/plain")

    cdn.routes["GET", "/some/file"] = serve
    location = f"http://127.0.0.1:{cdn.port}/some/file?token=1"
    alpha, _ = await played(network, two_parts({"Location": location}))
    assert (await download(alpha, "beta.test", "file")).body == b"from the CDN"


@pytest.mark.parametrize(
    ("answer", "status", "errcode"),
    [
        (lambda: web.json_response({"errcode": "M_NOT_FOUND", "error": "no"}, status=404), 404, "M_NOT_FOUND"),
        (lambda: web.json_response({"errcode": "M_TOO_LARGE", "error": "no"}, status=502), 502, "M_TOO_LARGE"),
        (lambda: web.json_response({"errcode": "M_UNKNOWN", "error": "no"}, status=500), 502, "M_UNKNOWN"),
        (lambda: web.Response(status=502, text="<html>"), 502, "M_UNKNOWN"),
        (lambda: web.Response(body=b"not in parts"), 502, "M_UNKNOWN"),
        (lambda: two_parts({}, frame="multipart/mixed; boundary=other"), 502, "M_UNKNOWN"),
        (lambda: two_parts({"Content-Type": "text/plain"}, b"x" * 2000), 502, "M_TOO_LARGE"),
        (lambda: two_parts({"Location": "http://127.0.0.1:1/"}), 502, "M_UNKNOWN"),
        (
            lambda: web.Response(
                body=opening_of("xyz", {"Content-Type": "text/plain"}) + b"broken off",
                headers={"Content-Type": "multipart/mixed; boundary=xyz"},
            ),
            502,
            "M_UNKNOWN",
        ),
    ],
)
async def test_failures_of_the_other_side(network: Network, answer: Any, status: int, errcode: str) -> None:
    alpha = await network.add("alpha.test", media={"max_download_size": 1000}, **PLUGINS)
    beta = await network.add_fake("beta.test")

    async def handle(request: web.Request) -> web.Response:
        made: web.Response = answer()
        return made

    beta.routes["GET", f"{V1}/media/download/file"] = handle
    found = await download(alpha, "beta.test", "file")
    assert (found.status, found.json["errcode"]) == (status, errcode)


async def test_servers_that_are_away(network: Network) -> None:
    alpha = await network.add("alpha.test", **PLUGINS)
    answer = await download(alpha, "nowhere.test", "file")
    assert (answer.status, answer.json["errcode"]) == (502, "M_UNKNOWN")


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
async def test_parts_are_read_however_they_are_cut(step: int) -> None:
    content = b"a\r\n--xy\r\n--xyz-not\r\n\r\n--"
    body = b"a preamble\r\n" + opening_of("xyz!", {"Content-Type": "a/b", "X": "y: z"}) + content + closing_of("xyz!")

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(body), step):
            await asyncio.sleep(0)
            yield body[at : at + step]

    reader = MultipartReader(chunks(), "xyz!")
    assert await reader.next_part() == {"content-type": "application/json"}
    assert await reader.next_part() == {"content-type": "a/b", "x": "y: z"}
    assert b"".join([chunk async for chunk in reader.body()]) == content


async def test_endless_headers_are_refused() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"--xyz\r\n"
        while True:
            yield b"a: b\r\n" * 100

    reader = MultipartReader(chunks(), "xyz")
    with pytest.raises(RemoteFailure, match="too long"):
        await reader.next_part()


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/mixed; boundary=abc", "abc"),
        ('Multipart/Mixed; charset=x; Boundary="a b:c"', "a b:c"),
        ("multipart/form-data; boundary=abc", None),
        ("multipart/mixed", None),
        ("", None),
    ],
)
def test_boundaries(content_type: str, boundary: str | None) -> None:
    assert boundary_of(content_type) == boundary
