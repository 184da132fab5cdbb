"""Outgoing requests against a real server on a loopback socket: limits of address, size and time, redirects, errors."""

import asyncio
import socket
from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from homeserver.runtime.http_client import (
    AddressDenied,
    AddressRules,
    HttpClient,
    RemoteFailure,
    RemoteTimeout,
    ResponseTooLarge,
)
from homeserver_config.sections.outgoing import OutgoingSettings

LOOPBACK = [ip_network("127.0.0.0/8")]


async def echo(request: web.Request) -> web.Response:
    return web.json_response(
        {
            "method": request.method,
            "path": request.raw_path,
            "headers": {name.lower(): value for name, value in request.headers.items()},
            "body": (await request.read()).decode(),
        },
        status=int(request.query.get("status", "200")),
    )


async def redirect(request: web.Request) -> web.Response:
    return web.Response(status=int(request.query["status"]), headers={"Location": request.query["to"]})


async def large(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    if "announced" in request.query:
        response.content_length = 5000
    await response.prepare(request)
    for _ in range(5):
        await response.write(b"x" * 1000)
    return response


async def compressed(request: web.Request) -> web.Response:
    response = web.Response(body=b"\0" * 1_000_000)
    response.enable_compression(web.ContentCoding.gzip)
    return response


async def slow(request: web.Request) -> web.Response:
    await asyncio.sleep(30)
    return web.Response()


async def cut_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    response.content_length = 100
    await response.prepare(request)
    await response.write(b"half")
    assert request.transport is not None
    request.transport.close()
    return response


@pytest.fixture
async def base() -> AsyncIterator[str]:
    app = web.Application()
    for path, handler in {
        "/redirect": redirect,
        "/large": large,
        "/gzip": compressed,
        "/slow": slow,
        "/cut": cut_off,
    }.items():
        app.router.add_get(path, handler)
    app.router.add_route("*", "/redirect-post", redirect)
    app.router.add_route("*", "/{rest:.*}", echo)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    client = HttpClient(OutgoingSettings(ip_ranges_allowed=LOOPBACK), user_agent="Test/1")
    yield client
    await client.close()


@pytest.fixture
async def careful() -> AsyncIterator[HttpClient]:
    client = HttpClient(OutgoingSettings(), resolver=PointsTo("127.0.0.1"))
    yield client
    await client.close()


class PointsTo(AbstractResolver):
    """Every name is that address."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=self.address, port=port, family=family, proto=0, flags=0),
        ]

    async def close(self) -> None:
        pass


async def test_a_request_and_its_answer(client: HttpClient, base: str) -> None:
    answer = await client.request("PUT", f"{base}/a%2Fb?c=%20d&status=418", json={"x": "ä"}, headers={"X-One": "1"})
    assert answer.status == 418
    assert answer.headers["content-type"].startswith("application/json")
    seen: dict[str, Any] = answer.json()
    assert (seen["method"], seen["path"], seen["body"]) == ("PUT", "/a%2Fb?c=%20d&status=418", '{"x":"ä"}')
    assert seen["headers"]["content-type"] == "application/json"
    assert seen["headers"]["user-agent"] == "Test/1"
    assert seen["headers"]["x-one"] == "1"


async def test_answers_of_no_use(client: HttpClient, base: str) -> None:
    answer = await client.request("GET", f"{base}/large")
    with pytest.raises(RemoteFailure, match="not JSON"):
        answer.json()
    with pytest.raises(RemoteFailure):
        await client.request("GET", f"{base}/cut")
    with pytest.raises(RemoteFailure, match="cannot be reached"):
        await client.request("GET", "http://127.0.0.1:1/")
    for url in ("ftp://127.0.0.1/", "file:///etc/passwd", "", "http://", "http://[::bad/", "http://2130706433/"):
        with pytest.raises(RemoteFailure):
            await client.request("GET", url)


async def test_failures_do_not_tell_secrets(client: HttpClient) -> None:
    with pytest.raises(RemoteFailure) as caught:
        await client.request("GET", "http://127.0.0.1:1/path?access_token=hidden")
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("path", ["/large", "/large?announced=1", "/gzip"])
async def test_answers_that_are_too_large(client: HttpClient, base: str, path: str) -> None:
    with pytest.raises(ResponseTooLarge):
        await client.request("GET", base + path, max_bytes=4999)


async def test_answers_that_take_too_long(client: HttpClient, base: str) -> None:
    with pytest.raises(RemoteTimeout):
        await client.request("GET", f"{base}/slow", timeout_s=0.05)


async def test_streaming(client: HttpClient, base: str) -> None:
    async with client.stream("GET", f"{base}/large") as response:
        assert response.status == 200
        assert sum([len(chunk) async for chunk in response.chunks()]) == 5000


async def test_errors_of_the_reader_are_its_own(client: HttpClient, base: str) -> None:
    with pytest.raises(ValueError, match="mine"):
        async with client.stream("GET", f"{base}/large"):
            raise ValueError("mine")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "0.0.0.0", "name.example", "[::ffff:127.0.0.1]"])
async def test_private_addresses_are_out_of_bounds(careful: HttpClient, host: str) -> None:
    with pytest.raises(AddressDenied):
        await careful.request("GET", f"http://{host}:1/")


async def test_redirects_are_checked_as_well(base: str) -> None:
    only_one = HttpClient(OutgoingSettings(ip_ranges_allowed=[ip_network("127.0.0.1/32")]))
    with pytest.raises(AddressDenied):
        await only_one.request("GET", f"{base}/redirect?status=302&to=http://127.0.0.2:1/", redirects=3)
    await only_one.close()


async def test_redirects_are_followed_only_when_asked_for(client: HttpClient, base: str) -> None:
    url = f"{base}/redirect?status=302&to=/there"
    assert (await client.request("GET", url)).status == 302
    answer = await client.request("GET", url, redirects=1)
    assert (answer.json()["path"], answer.url) == ("/there", f"{base}/there")
    loop = f"{base}/redirect?status=302&to={base}/redirect%3Fstatus=302%26to=/end"
    assert (await client.request("GET", loop, redirects=1)).status == 302


@pytest.mark.parametrize(("status", "method", "body"), [(303, "GET", ""), (302, "GET", ""), (307, "POST", '{"a":1}')])
async def test_what_a_redirect_makes_of_a_post(
    client: HttpClient, base: str, status: int, method: str, body: str
) -> None:
    answer = await client.request("POST", f"{base}/redirect-post?status={status}&to=/x", json={"a": 1}, redirects=1)
    assert (answer.json()["method"], answer.json()["body"]) == (method, body)


async def test_a_redirect_elsewhere_loses_the_authorization(client: HttpClient, base: str) -> None:
    headers = {"Authorization": "Bearer x"}
    same = await client.request("GET", f"{base}/redirect?status=307&to=/x", headers=headers, redirects=1)
    assert same.json()["headers"]["authorization"] == "Bearer x"
    elsewhere = base.replace("127.0.0.1", "localhost")
    other = await client.request("GET", f"{base}/redirect?status=307&to={elsewhere}/x", headers=headers, redirects=1)
    assert "authorization" not in other.json()["headers"]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", True),
        ("10.1.2.3", False),
        ("10.9.9.9", True),
        ("169.254.169.254", False),
        ("fe80::1%eth0", False),
        ("::ffff:192.168.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2606:4700::1", True),
        ("localhost", False),
    ],
)
def test_address_rules(address: str, expected: bool) -> None:
    rules = AddressRules(OutgoingSettings().ip_ranges_denied, [ip_network("10.9.9.0/24")])
    assert rules.allow(address) is expected
