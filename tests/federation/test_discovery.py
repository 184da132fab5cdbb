"""From server names to places: every step of the specification, with real `.well-known` servers and a played DNS."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence

import pytest
from aiohttp import web

from homeserver.runtime.clock import ManualClock
from homeserver.runtime.http_client import HttpClient
from homeserver.runtime.randomness import SeededRandomness
from homeserver_config.sections.federation import FederationSettings
from homeserver_config.sections.outgoing import OutgoingSettings
from homeserver_federation.errors import ServerUnreachable
from homeserver_federation.server_discovery import Destination, ServerDiscovery
from homeserver_federation.srv_records import SrvRecord, in_order_of_use, usable
from homeserver_federation.well_known import WellKnown

HOUR = 3600.0


class Zone:
    """A DNS that knows some SRV records, and counts who asks."""

    def __init__(self) -> None:
        self.records: dict[str, list[SrvRecord]] = {}
        self.asked: list[str] = []

    async def lookup(self, name: str) -> Sequence[SrvRecord]:
        self.asked.append(name)
        return usable(self.records.get(name, []))


class World:
    """`files` are the `.well-known` answers by domain: a target, or a whole response to be made."""

    def __init__(self, http: HttpClient, port: int) -> None:
        self.files: dict[str, str | tuple[int, str, dict[str, str]]] = {}
        self.fetched: Counter[str] = Counter()
        self.zone = Zone()
        self.clock = ManualClock()
        well_known = WellKnown(
            http, FederationSettings(), self.clock, url_of=lambda host: f"http://127.0.0.1:{port}/{host}"
        )
        self.discovery = ServerDiscovery(well_known, self.zone, self.clock, SeededRandomness(1))

    async def answer(self, request: web.Request) -> web.Response:
        host = request.path[1:]
        self.fetched[host] += 1
        file = self.files.get(host)
        if file is None:
            return web.Response(status=404, text="<html>")
        if isinstance(file, str):
            return web.json_response({"m.server": file})
        status, text, headers = file
        return web.Response(status=status, text=text, headers=headers)

    async def find(self, name: str) -> Destination:
        return (await self.discovery.resolve(name))[0]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async def answer(request: web.Request) -> web.Response:
        return await found.answer(request)

    app = web.Application()
    app.router.add_route("GET", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    http = HttpClient(OutgoingSettings.model_validate({"ip_ranges_allowed": ["127.0.0.0/8"]}))
    found = World(http, port)
    yield found
    await http.close()
    await runner.cleanup()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("192.0.2.1", Destination("192.0.2.1", 8448, "192.0.2.1", "192.0.2.1")),
        ("192.0.2.1:1234", Destination("192.0.2.1", 1234, "192.0.2.1:1234", "192.0.2.1")),
        ("[2001:db8::1]", Destination("2001:db8::1", 8448, "[2001:db8::1]", "2001:db8::1")),
        ("[2001:db8::1]:99", Destination("2001:db8::1", 99, "[2001:db8::1]:99", "2001:db8::1")),
        ("example.org:8449", Destination("example.org", 8449, "example.org:8449", "example.org")),
    ],
)
async def test_steps_1_and_2_need_no_lookup(world: World, name: str, wanted: Destination) -> None:
    assert await world.find(name) == wanted
    assert not world.fetched
    assert not world.zone.asked


@pytest.mark.parametrize(
    ("delegated", "wanted"),
    [
        ("192.0.2.7", Destination("192.0.2.7", 8448, "192.0.2.7", "192.0.2.7")),
        ("192.0.2.7:443", Destination("192.0.2.7", 443, "192.0.2.7:443", "192.0.2.7")),
        ("m.example.net:443", Destination("m.example.net", 443, "m.example.net:443", "m.example.net")),
        ("m.example.net", Destination("m.example.net", 8448, "m.example.net", "m.example.net")),
    ],
)
async def test_step_3_delegates(world: World, delegated: str, wanted: Destination) -> None:
    world.files["example.org"] = delegated
    assert await world.find("example.org") == wanted


async def test_step_3_3_looks_up_the_delegated_name_and_keeps_it_for_host_and_certificate(world: World) -> None:
    world.files["example.org"] = "m.example.net"
    world.zone.records["_matrix-fed._tcp.m.example.net"] = [SrvRecord(1, 1, 4000, "box.example.com")]
    world.zone.records["_matrix._tcp.m.example.net"] = [SrvRecord(1, 1, 5000, "old.example.com")]
    assert await world.find("example.org") == Destination("box.example.com", 4000, "m.example.net", "m.example.net")


async def test_step_3_4_the_deprecated_record(world: World) -> None:
    world.files["example.org"] = "m.example.net"
    world.zone.records["_matrix._tcp.m.example.net"] = [SrvRecord(1, 1, 5000, "old.example.com")]
    assert await world.find("example.org") == Destination("old.example.com", 5000, "m.example.net", "m.example.net")
    assert world.zone.asked == ["_matrix-fed._tcp.m.example.net", "_matrix._tcp.m.example.net"]


async def test_steps_4_to_6_without_a_file(world: World) -> None:
    assert await world.find("a.example") == Destination("a.example", 8448, "a.example", "a.example")
    world.zone.records["_matrix-fed._tcp.b.example"] = [SrvRecord(1, 1, 4000, "box.example.com")]
    assert await world.find("b.example") == Destination("box.example.com", 4000, "b.example", "b.example")
    world.zone.records["_matrix._tcp.c.example"] = [SrvRecord(1, 1, 5000, "old.example.com")]
    assert await world.find("c.example") == Destination("old.example.com", 5000, "c.example", "c.example")


@pytest.mark.parametrize(
    "file",
    [
        (200, "not json", {}),
        (200, "[]", {}),
        (200, "{}", {}),
        (200, '{"m.server": 5}', {}),
        (200, '{"m.server": "not a name"}', {}),
        (500, '{"m.server": "m.example.net"}', {}),
        (200, '{"m.server": "' + "a" * 60_000 + '"}', {}),
    ],
)
async def test_an_invalid_file_is_none(world: World, file: tuple[int, str, dict[str, str]]) -> None:
    world.files["example.org"] = file
    assert await world.find("example.org") == Destination("example.org", 8448, "example.org", "example.org")


async def test_redirects_are_followed_but_not_for_ever(world: World) -> None:
    world.files["example.org"] = (302, "", {"Location": "/real.example"})
    world.files["real.example"] = "m.example.net:443"
    world.files["loop.example"] = (302, "", {"Location": "/loop.example"})
    assert (await world.find("example.org")).host == "m.example.net"
    assert (await world.find("loop.example")).host == "loop.example"
    assert world.fetched["loop.example"] < 10


@pytest.mark.parametrize(
    ("headers", "hours"),
    [
        ({}, 24),
        ({"Cache-Control": "public, max-age=36000"}, 10),
        ({"Cache-Control": "max-age=99999999"}, 48),
        ({"Cache-Control": "no-store"}, 1 / 12),
        ({"Expires": "Thu, 01 Jan 1970 00:00:00 GMT"}, 1 / 12),
        ({"Expires": "nonsense"}, 1 / 12),
    ],
)
async def test_how_long_a_file_is_kept(world: World, headers: dict[str, str], hours: float) -> None:
    world.files["example.org"] = (200, '{"m.server": "m.example.net:443"}', headers)
    await world.find("example.org")
    await world.clock.advance(hours * HOUR - 1)
    await world.find("example.org")
    assert world.fetched["example.org"] == 1
    # Places are kept for minutes more.
    await world.clock.advance(301)
    await world.find("example.org")
    assert world.fetched["example.org"] == 2


async def test_failures_are_kept_for_longer_and_longer_but_not_for_more_than_an_hour(world: World) -> None:
    pauses = []
    for _ in range(8):
        await world.find("example.org")
        before, waited = world.fetched["example.org"], 0
        while world.fetched["example.org"] == before:
            await world.clock.advance(60)
            waited += 1
            world.discovery.cache.clear()
            await world.find("example.org")
        pauses.append(waited)
    assert pauses[0] == 2
    assert pauses[:5] == sorted(pauses[:5])
    assert max(pauses) == 60


async def test_a_file_is_believed_for_a_while_after_its_server_fails(world: World) -> None:
    world.files["example.org"] = "m.example.net:443"
    await world.find("example.org")
    del world.files["example.org"]
    await world.clock.advance(25 * HOUR)
    assert (await world.find("example.org")).host == "m.example.net"
    await world.clock.advance(25 * HOUR)
    assert (await world.find("example.org")).host == "example.org"


async def test_one_lookup_for_many_who_ask_at_once(world: World) -> None:
    world.files["example.org"] = "m.example.net:443"
    await asyncio.gather(*(world.find("example.org") for _ in range(10)))
    assert world.fetched["example.org"] == 1


async def test_a_domain_may_say_that_there_is_no_server(world: World) -> None:
    world.zone.records["_matrix-fed._tcp.example.org"] = [SrvRecord(0, 0, 0, "")]
    with pytest.raises(ServerUnreachable, match="no Matrix server"):
        await world.find("example.org")


async def test_what_is_no_server_name(world: World) -> None:
    with pytest.raises(ServerUnreachable, match="not the name"):
        await world.find("exa mple.org")


async def test_a_place_that_fails_goes_to_the_end(world: World) -> None:
    world.zone.records["_matrix-fed._tcp.example.org"] = [SrvRecord(1, 0, 1, "one"), SrvRecord(2, 0, 2, "two")]
    first = await world.find("example.org")
    assert first.host == "one"
    world.discovery.demote("example.org", first)
    assert (await world.find("example.org")).host == "two"


def test_priorities_come_first_and_weights_decide_among_equals() -> None:
    records = [SrvRecord(2, 100, 1, "later"), SrvRecord(1, 1, 1, "light"), SrvRecord(1, 9, 1, "heavy")]
    randomness = SeededRandomness(7)
    orders = [tuple(record.target for record in in_order_of_use(records, randomness)) for _ in range(500)]
    assert {order[2] for order in orders} == {"later"}
    heavy_first = sum(order[0] == "heavy" for order in orders)
    assert 380 < heavy_first < 490
