"""Requests to other servers: errors as values, pauses after failures, certificates, addresses out of bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from federation.certificates import Authority
from federation.network import FakeServer, Network, free_port

from homeserver.protocol.signing import SigningKey
from homeserver.runtime.clock import ManualClock, SystemClock
from homeserver.runtime.http_client import HttpClient, RemoteFailure
from homeserver.runtime.randomness import SeededRandomness
from homeserver.storage.sqlite import SqliteDatabase
from homeserver_config.sections.federation import FederationSettings
from homeserver_config.sections.outgoing import OutgoingSettings
from homeserver_federation.back_off import BackOff
from homeserver_federation.client import FederationClient, build_tls_context, federation_path
from homeserver_federation.errors import RemoteServerError, ServerNotAllowed, ServerUnreachable
from homeserver_federation.server_discovery import Destination, FixedDiscovery

KEY = SigningKey("1", b"k" * 32)
THING = federation_path("v1", "thing")


class Several(FixedDiscovery):
    """A server with several places."""

    def __init__(self, places: list[Destination]) -> None:
        super().__init__({})
        self.several = places

    async def resolve(self, server_name: str) -> list[Destination]:
        return self.several

    def demote(self, server_name: str, destination: Destination) -> None:
        self.several = [one for one in self.several if one != destination] + [destination]


class Kit:
    """A client of alpha.test, with what stands around it."""

    def __init__(self, database: SqliteDatabase, discovery: FixedDiscovery, **settings: Any) -> None:
        self.settings = FederationSettings.model_validate({"request_timeout": "5s", **settings})
        self.clock = ManualClock(SystemClock().now_ms())
        self.back_off = BackOff(database, self.settings, self.clock, SeededRandomness(1))
        outgoing = OutgoingSettings.model_validate({"ip_ranges_allowed": ["127.0.0.0/8", "::1/128"]})
        self.http = HttpClient(outgoing, tls=build_tls_context(self.settings))
        self.client = FederationClient(
            "alpha.test", KEY, discovery, self.http, self.settings, SystemClock(), self.back_off
        )


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    opened = SqliteDatabase(tmp_path / "test.db", synchronous="OFF")
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def kit(network: Network, database: SqliteDatabase) -> AsyncIterator[Kit]:
    found = Kit(database, network.discovery)
    yield found
    await found.http.close()


def answers(beta: FakeServer, status: int, body: Any, **headers: str) -> None:
    async def handle(request: web.Request) -> web.Response:
        text = body if isinstance(body, str) else None
        if text is not None:
            return web.Response(status=status, text=text, headers=headers)
        return web.json_response(body, status=status, headers=headers)

    for method in ("GET", "PUT", "POST"):
        beta.routes[method, THING] = handle


def test_paths_are_encoded_segment_by_segment() -> None:
    path = federation_path("v2", "send_join", "!a/b:c d", "$+/=?#")
    assert path == "/_matrix/federation/v2/send_join/%21a%2Fb%3Ac%20d/%24%2B%2F%3D%3F%23"


async def test_requests_carry_the_exact_target(network: Network, kit: Kit) -> None:
    beta = await network.add_fake("beta.test")
    answers(beta, 200, {"fine": True})
    assert await kit.client.get("beta.test", THING, {"a": "x y/ü", "b": ["1", "2"]}) == {"fine": True}
    assert beta.asked == [f"GET {THING}?a=x+y%2F%C3%BC&b=1&b=2"]
    assert await kit.client.put("beta.test", THING, {"body": 1}) == {"fine": True}
    assert await kit.client.post("beta.test", THING, {"body": 1.5}) == {"fine": True}


async def test_errors_of_the_server_are_values(network: Network, kit: Kit) -> None:
    beta = await network.add_fake("beta.test")
    answers(beta, 403, {"errcode": "M_FORBIDDEN", "error": "no", "extra": 5})
    with pytest.raises(RemoteServerError) as raised:
        await kit.client.get("beta.test", THING)
    error = raised.value
    assert (error.destination, error.status, error.errcode, error.sentence) == ("beta.test", 403, "M_FORBIDDEN", "no")
    assert error.body["extra"] == 5
    assert error.as_matrix_error().status == 403
    assert kit.back_off.failing_since_ms("beta.test") is None


@pytest.mark.parametrize(("status", "unknown"), [(404, True), (405, True), (400, False)])
async def test_bare_refusals(network: Network, kit: Kit, status: int, unknown: bool) -> None:
    beta = await network.add_fake("beta.test")
    answers(beta, status, "<html>")
    with pytest.raises(RemoteServerError) as raised:
        await kit.client.get("beta.test", THING)
    assert raised.value.is_unknown_endpoint is unknown


async def test_a_pause_the_server_asks_for(network: Network, kit: Kit) -> None:
    beta = await network.add_fake("beta.test")
    answers(beta, 429, {"errcode": "M_LIMIT_EXCEEDED", "error": "slow down"}, **{"Retry-After": "7"})
    with pytest.raises(RemoteServerError) as raised:
        await kit.client.get("beta.test", THING)
    assert raised.value.retry_after_ms == 7000
    assert raised.value.as_matrix_error().status == 502


@pytest.mark.parametrize(("status", "body"), [(502, "<html>"), (200, "<html>"), (302, "moved")])
async def test_who_answers_like_a_proxy_is_not_there(network: Network, kit: Kit, status: int, body: str) -> None:
    beta = await network.add_fake("beta.test")
    answers(beta, status, body)
    with pytest.raises(ServerUnreachable):
        await kit.client.get("beta.test", THING)
    assert kit.back_off.is_paused("beta.test")


async def test_answers_that_are_too_large(network: Network, kit: Kit) -> None:
    beta = await network.add_fake("beta.test")
    answers(beta, 200, {"a": "x" * 2000})
    with pytest.raises(RemoteServerError, match="larger than 1000 bytes"):
        await kit.client.get("beta.test", THING, max_bytes=1000)


async def test_a_server_that_does_not_answer_in_time(network: Network, kit: Kit) -> None:
    beta = await network.add_fake("beta.test")

    async def sleep(request: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.json_response({})

    beta.routes["GET", THING] = sleep
    with pytest.raises(ServerUnreachable, match="too long"):
        await kit.client.get("beta.test", THING, timeout_ms=100)
    assert kit.back_off.is_paused("beta.test")


async def test_pauses_double_up_to_the_longest_and_end_with_an_answer(
    network: Network, database: SqliteDatabase
) -> None:
    beta = await network.add_fake("beta.test")
    answers(beta, 200, {})
    kit = Kit(database, network.discovery, retry_at_first="10s", retry_at_most="1m")
    recovered: list[str] = []
    kit.back_off.on_recovery(recovered.append)
    await beta.hang_up()
    pauses = []
    for _ in range(5):
        with pytest.raises(ServerUnreachable):
            await kit.client.get("beta.test", THING)
        # The next one does not even try, and counts for nothing.
        with pytest.raises(ServerUnreachable, match="left alone"):
            await kit.client.get("beta.test", THING)
        pause = kit.back_off.retry_at_ms("beta.test") - kit.clock.now_ms()
        pauses.append(pause / 1000)
        await kit.clock.advance(pause / 1000 + 1)
    for pause, usual in zip(pauses, (10, 20, 40, 60, 60), strict=True):
        assert usual * 0.9 <= pause <= usual * 1.1
    again = BackOff(database, kit.settings, kit.clock, SeededRandomness(2))
    await again.load()
    assert again.retry_at_ms("beta.test") == kit.back_off.retry_at_ms("beta.test")
    await beta.listen()
    assert await kit.client.get("beta.test", THING) == {}
    assert recovered == ["beta.test"]
    assert kit.back_off.failing_since_ms("beta.test") is None
    await again.load()
    assert again.failing_since_ms("beta.test") is None
    await kit.http.close()


async def test_contact_ends_a_pause_but_not_again_and_again(kit: Kit) -> None:
    await kit.back_off.failed("beta.test")
    await kit.back_off.heard_from("beta.test")
    assert not kit.back_off.is_paused("beta.test")
    await kit.back_off.failed("beta.test")
    await kit.back_off.heard_from("beta.test")
    assert kit.back_off.is_paused("beta.test")
    await kit.clock.advance(31)
    await kit.back_off.failed("beta.test")
    await kit.back_off.heard_from("beta.test")
    assert not kit.back_off.is_paused("beta.test")


async def test_a_pause_can_be_ignored(network: Network, kit: Kit) -> None:
    beta = await network.add_fake("beta.test")
    answers(beta, 200, {})
    await kit.back_off.failed("beta.test")
    assert await kit.client.get("beta.test", THING, ignore_back_off=True) == {}
    assert not kit.back_off.is_paused("beta.test")


async def test_failures_side_by_side_count_once(network: Network, kit: Kit) -> None:
    network.discovery.places["beta.test"] = Destination("127.0.0.1", free_port(), "beta.test", "beta.test", "http")
    results = await asyncio.gather(*(kit.client.get("beta.test", THING) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(result, ServerUnreachable) for result in results)
    assert kit.back_off.retry_at_ms("beta.test") - kit.clock.now_ms() <= 11_000


async def test_repetitions_where_asked(network: Network, kit: Kit) -> None:
    beta = await network.add_fake("beta.test")
    tries = []

    async def third_time_lucky(request: web.Request) -> web.Response:
        tries.append(1)
        return web.Response(status=502) if len(tries) < 3 else web.json_response({})

    beta.routes["GET", THING] = third_time_lucky
    assert await kit.client.get("beta.test", THING, attempts=3) == {}
    assert kit.back_off.failing_since_ms("beta.test") is None
    tries.clear()
    beta.routes["POST", THING] = third_time_lucky
    with pytest.raises(ServerUnreachable):
        await kit.client.post("beta.test", THING, {})
    assert len(tries) == 1


async def test_not_too_many_requests_at_once(network: Network, kit: Kit) -> None:
    beta = await network.add_fake("beta.test")
    now, most = 0, 0

    async def count(request: web.Request) -> web.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.02)
        now -= 1
        return web.json_response({})

    beta.routes["GET", THING] = count
    await asyncio.gather(*(kit.client.get("beta.test", THING) for _ in range(60)))
    assert 1 < most <= 12
    assert kit.client._slots == {}


async def test_servers_that_are_out_of_bounds(network: Network, database: SqliteDatabase) -> None:
    beta = await network.add_fake("beta.test")
    kit = Kit(database, network.discovery, deny=["beta.*"])
    with pytest.raises(ServerNotAllowed) as raised:
        await kit.client.get("beta.test", THING)
    assert raised.value.as_matrix_error().status == 403
    with pytest.raises(ServerUnreachable, match="this server"):
        await kit.client.get("alpha.test", THING)
    assert beta.asked == []
    await kit.http.close()


async def test_private_addresses_are_out_of_bounds(database: SqliteDatabase) -> None:
    fake = FakeServer("beta.test")
    await fake.listen()
    settings = FederationSettings()
    http = HttpClient(OutgoingSettings())
    back_off = BackOff(database, settings, SystemClock(), SeededRandomness(1))
    for host in ("127.0.0.1", "localhost"):
        discovery = FixedDiscovery({"beta.test": Destination(host, fake.port, "beta.test", "beta.test", "http")})
        client = FederationClient("alpha.test", KEY, discovery, http, settings, SystemClock(), back_off)
        with pytest.raises(ServerUnreachable, match="out of bounds"):
            await client.get("beta.test", THING, ignore_back_off=True)
    assert fake.asked == []
    await http.close()
    await fake.hang_up()


async def test_the_next_place_is_tried_when_one_does_not_answer(network: Network, database: SqliteDatabase) -> None:
    beta = await network.add_fake("beta.test")
    answers(beta, 200, {})
    dead = Destination("127.0.0.1", free_port(), "beta.test", "beta.test", "http")
    alive = network.discovery.places["beta.test"]
    several = Several([dead, alive])
    kit = Kit(database, several)
    assert await kit.client.get("beta.test", THING) == {}
    assert several.several == [alive, dead]
    # What must not be repeated goes to the place that answered last.
    assert await kit.client.post("beta.test", THING, {}) == {}
    await kit.http.close()


class TestCertificates:
    @pytest.fixture
    async def beta(self, tmp_path: Path) -> AsyncIterator[tuple[Authority, Destination]]:
        """A server with a certificate for beta.test, at an address of its own."""
        authority = Authority(tmp_path)

        async def hello(request: web.Request) -> web.Response:
            return web.json_response({"host": request.headers["Host"]})

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", hello)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=authority.context_for("beta.test")).start()
        yield authority, Destination("127.0.0.1", port, "beta.test", "beta.test")
        await runner.cleanup()

    async def ask(self, database: SqliteDatabase, name: str, place: Destination, **settings: Any) -> Any:
        kit = Kit(database, FixedDiscovery({name: place}), **settings)
        try:
            return await kit.client.get(name, THING)
        finally:
            await kit.http.close()

    async def test_an_authority_of_ones_own(
        self, database: SqliteDatabase, beta: tuple[Authority, Destination]
    ) -> None:
        authority, place = beta
        answer = await self.ask(database, "beta.test", place, ca_certificates=[str(authority.path)])
        assert answer == {"host": "beta.test"}

    async def test_unknown_authorities(self, database: SqliteDatabase, beta: tuple[Authority, Destination]) -> None:
        with pytest.raises(ServerUnreachable):
            await self.ask(database, "beta.test", beta[1])

    async def test_the_name_must_be_right(self, database: SqliteDatabase, beta: tuple[Authority, Destination]) -> None:
        authority, place = beta
        wrong = Destination(place.host, place.port, "gamma.test", "gamma.test")
        with pytest.raises(ServerUnreachable):
            await self.ask(database, "gamma.test", wrong, ca_certificates=[str(authority.path)])

    async def test_an_address_needs_a_certificate_for_itself(
        self, database: SqliteDatabase, beta: tuple[Authority, Destination]
    ) -> None:
        authority, place = beta
        by_address = Destination("127.0.0.1", place.port, f"127.0.0.1:{place.port}", "127.0.0.1")
        with pytest.raises(ServerUnreachable):
            await self.ask(database, f"127.0.0.1:{place.port}", by_address, ca_certificates=[str(authority.path)])

    async def test_exemptions(self, database: SqliteDatabase, beta: tuple[Authority, Destination]) -> None:
        answer = await self.ask(database, "beta.test", beta[1], verification_exemptions=["beta.*"])
        assert answer == {"host": "beta.test"}


async def test_streams_are_read_piece_by_piece_and_bounded(network: Network, kit: Kit) -> None:
    beta = await network.add_fake("beta.test")
    answers(beta, 200, "x" * 5000)
    async with kit.client.stream_get("beta.test", THING, timeout_ms=5000, max_bytes=5000) as response:
        assert b"".join([chunk async for chunk in response.chunks()]) == b"x" * 5000
    with pytest.raises(RemoteFailure, match="larger"):
        async with kit.client.stream_get("beta.test", THING, timeout_ms=5000, max_bytes=4999) as response:
            [chunk async for chunk in response.chunks()]
    answers(beta, 404, {"errcode": "M_NOT_FOUND", "error": "no"})
    with pytest.raises(RemoteServerError, match="M_NOT_FOUND"):
        async with kit.client.stream_get("beta.test", THING, timeout_ms=5000, max_bytes=5000):
            pass
