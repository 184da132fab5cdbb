"""Servers whose signing keys cannot be asked for just now: what they sent is not lost, and no state is short of it."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from federation.network import FakeServer, Network, eventually
from federation.rooms import hears, join_via, public_room, room_of, sees_member
from federation.visitor import visit
from sqlalchemy import delete

from homeserver.runtime.background import BackgroundTasks
from homeserver.runtime.clock import SystemClock
from homeserver.storage.tables.server_keys import server_keys
from homeserver_federation.inbound.retry_later import RetryLater

_KEYS = ("GET", "/_matrix/key/v2/server")


def hides_its_keys(fake: FakeServer) -> Any:
    """Have a played server answer with an error when asked for its keys; how it answered before."""
    before = fake.routes[_KEYS]

    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=502)

    fake.routes[_KEYS] = refuse
    return before


async def test_an_event_is_received_once_its_key_can_be_had(network: Network) -> None:
    alpha = await network.add("alpha.test")
    alice = await alpha.user("alice")
    eve = await visit(network, alpha, await public_room(alice))
    said = eve.say("late")
    ring, fetcher = alpha.federation.key_ring, alpha.federation.key_ring._fetcher
    for known in (ring.cache._young, ring.cache._old):
        known.pop(eve.fake.name, None)
    await alpha.homeserver.database.write(lambda tx: tx.connection.execute(delete(server_keys)).rowcount)
    fetcher._not_before_ms.drop(eve.fake.name)
    shows = hides_its_keys(eve.fake)
    results = await alpha.federation.of_rooms.receive.receive(eve.fake.name, eve.room_id, [said.pdu])
    assert results[said.event_id].is_worth_another_try
    eve.fake.routes[_KEYS] = shows
    fetcher._failed_ms.drop(eve.fake.name)
    await alpha.federation.back_off.succeeded(eve.fake.name)
    await hears(alice, eve.room_id, "late")


async def test_a_join_waits_for_the_keys_of_the_members(network: Network) -> None:
    alpha, beta = await network.add("alpha.test"), await network.add("beta.test")
    alice, bob = await alpha.user("alice"), await beta.user("bob")
    eve = await visit(network, alpha, await public_room(alice))
    shows = hides_its_keys(eve.fake)
    fetcher = beta.federation.key_ring._fetcher

    async def is_failing() -> bool:
        return fetcher._failing_since_ms.find(eve.fake.name) is not None

    async def recover() -> None:
        await eventually(is_failing)
        eve.fake.routes[_KEYS] = shows
        fetcher._failed_ms.drop(eve.fake.name)
        await beta.federation.back_off.succeeded(eve.fake.name)

    recovery = beta.homeserver.background.start("recovery", recover())
    await join_via(bob, eve.room_id, alpha)
    await recovery
    assert ("m.room.member", eve.user_id) in (await room_of(beta, eve.room_id)).state
    await sees_member(bob, eve.room_id, eve.user_id, "join")


async def test_nothing_is_tried_again_by_a_server_that_stops() -> None:
    background = BackgroundTasks(SystemClock())
    later = RetryLater(background, SystemClock())
    await background.stop()

    async def attempt() -> bool:
        raise AssertionError("tried")

    later.try_again("other.test", "$event", attempt)
    assert background.running == []
