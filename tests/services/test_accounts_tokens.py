"""`Tokens`: what is remembered, when it is forgotten, and where devices were seen."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from accounts_app import SERVER, AccountsApp, running_app
from starlette.types import Message

from homeserver.protocol.errors import MatrixError
from homeserver.services.accounts.ports import NoAppservices
from homeserver.services.accounts.sessions import ClientDetails
from homeserver.services.accounts.tokens import Tokens
from homeserver.storage import accounts
from homeserver.web.request import Request

ALICE = f"@alice:{SERVER}"


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def request_from(address: str = "192.0.2.7", path: str = "/_matrix/client/v3/sync") -> Request:
    headers = [(b"user-agent", b"Test/1")]
    scope = {"type": "http", "method": "GET", "path": path, "client": (address, 1), "headers": headers}
    return Request(scope, _nothing)


async def session_of(app: AccountsApp, device_id: str = "PHONE") -> str:
    if await app.accounts.find(ALICE) is None:
        await app.accounts.create("alice", password="correct horse")
    session = await app.sessions.begin(ALICE, ClientDetails(device_id=device_id, address="192.0.2.1"))
    return session.credentials.access_token


async def test_a_hit_costs_next_to_nothing(app: AccountsApp) -> None:
    token, request = await session_of(app), request_from()
    requester = await app.tokens.authenticate(token, request)
    misses = app.tokens.cache.misses
    rounds = 10_000
    started = time.perf_counter()
    for _ in range(rounds):
        await app.tokens.authenticate(token, request)
    each_us = (time.perf_counter() - started) / rounds * 1e6
    assert await app.tokens.authenticate(token, request) is requester
    assert app.tokens.cache.misses == misses
    assert each_us < 20  # about one microsecond; the rest is for a busy machine


async def test_tokens_are_stored_as_hashes(app: AccountsApp, tmp_path: Path) -> None:
    token = await session_of(app)
    assert token.startswith("sta_")
    files = [path.read_bytes() for path in tmp_path.iterdir()]
    assert files
    assert not any(token.encode() in content for content in files)


async def test_changes_of_standing_count_at_once(app: AccountsApp) -> None:
    token = await session_of(app)
    assert not (await app.tokens.authenticate(token, request_from())).is_suspended
    await app.accounts.set_suspended(ALICE, True)
    assert (await app.tokens.authenticate(token, request_from())).is_suspended
    await app.accounts.set_admin(ALICE, True)
    requester = await app.tokens.authenticate(token, request_from())
    assert requester.is_admin
    assert not requester.is_rate_limited
    await app.accounts.set_admin(ALICE, False)
    await app.accounts.set_rate_limit_exempt(ALICE, True)
    assert not (await app.tokens.authenticate(token, request_from())).is_rate_limited


async def test_a_logout_during_the_look_up_is_not_overlooked(app: AccountsApp) -> None:
    token = await session_of(app)
    looking = asyncio.ensure_future(app.tokens.authenticate(token, request_from()))
    await app.sessions.logout_all(ALICE)
    await asyncio.wait([looking])
    with pytest.raises(MatrixError, match="M_UNKNOWN_TOKEN"):
        await app.tokens.authenticate(token, request_from())


async def test_other_processes_are_noticed_after_a_while(app: AccountsApp) -> None:
    token = await session_of(app)
    other = Tokens(app.database, app.clock, NoAppservices(), recheck_ms=30_000)
    assert (await other.authenticate(token, request_from())).user_id == ALICE
    await app.database.write(accounts.set_suspended, ALICE, True)
    assert not (await other.authenticate(token, request_from())).is_suspended
    await app.clock.advance(30)
    assert (await other.authenticate(token, request_from())).is_suspended


async def test_last_seen_is_written_in_batches(app: AccountsApp) -> None:
    token = await session_of(app)
    await app.clock.advance(60)
    await app.tokens.authenticate(token, request_from("192.0.2.8"))
    assert (await app.devices.get(ALICE, "PHONE")).last_seen_ip == "192.0.2.1"
    await app.tokens.flush_last_seen()
    first = app.clock.now_ms()
    device = await app.devices.get(ALICE, "PHONE")
    assert (device.last_seen_ip, device.last_seen_ms, device.user_agent) == ("192.0.2.8", first, "Test/1")
    await app.clock.advance(60)
    await app.tokens.authenticate(token, request_from("192.0.2.9"))
    await app.tokens.flush_last_seen()
    assert (await app.devices.get(ALICE, "PHONE")).last_seen_ms == first
    await app.clock.advance(60)
    await app.tokens.authenticate(token, request_from("192.0.2.9"))
    await app.tokens.flush_last_seen()
    assert (await app.devices.get(ALICE, "PHONE")).last_seen_ip == "192.0.2.9"


async def test_two_finishes_of_one_registration_open_one_account(tmp_path: Path) -> None:
    async with running_app(tmp_path) as app:
        first = await app.client.post("/_matrix/client/v3/register", {"password": "correct horse"})
        auth = {"type": "m.login.dummy", "session": first.json["session"]}
        answers = await asyncio.gather(
            *(app.client.post("/_matrix/client/v3/register", {"auth": auth}) for _ in range(2))
        )
        assert sorted(answer.status for answer in answers) in ([200, 403], [200, 401])
        assert await app.database.read(accounts.count_users) == 1
