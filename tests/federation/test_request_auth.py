"""Who may ask: signed requests of servers we talk to, meant for us; and nobody else."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from federation.network import FakeServer, FederatedServer, Network
from yarl import URL

from homeserver.protocol.signing import SigningKey
from homeserver_federation.x_matrix import authorization_header

PROFILE = "/_matrix/federation/v1/query/profile?user_id=%40alice%3Aalpha.test"
QUERY = "/_matrix/federation/v1/user/keys/query"


async def pair(network: Network, **federation: Any) -> tuple[FederatedServer, FakeServer]:
    alpha = await network.add("alpha.test", federation=federation)
    await alpha.user("alice")
    return alpha, await network.add_fake("beta.test")


async def test_signed_requests_are_answered(network: Network) -> None:
    alpha, beta = await pair(network)
    assert await beta.ask(alpha, "GET", PROFILE) == (200, {"displayname": "alice"})
    status, answer = await beta.ask(alpha, "POST", QUERY, {"device_keys": {"@alice:alpha.test": []}})
    assert (status, answer) == (200, {"device_keys": {"@alice:alpha.test": {}}})
    assert beta.asked == ["GET /_matrix/key/v2/server"]


@pytest.mark.parametrize(
    "changed",
    [
        {"destination": "gamma.test"},
        {"sent_target": PROFILE.replace("alice", "admin")},
        {"sent_target": PROFILE + "&field=displayname"},
        {"header": 'X-Matrix origin="beta.test",destination="alpha.test",key="ed25519:fake",sig="c2ln"'},
        {"header": 'X-Matrix origin="beta.test",destination="alpha.test",key="ed25519:other",sig="c2ln"'},
        {"header": 'X-Matrix origin="nowhere.test",destination="alpha.test",key="ed25519:fake",sig="c2ln"'},
        {"header": 'X-Matrix origin="not a name",destination="alpha.test",key="ed25519:fake",sig="c2ln"'},
        {"header": "Bearer something"},
        {"header": "X-Matrix"},
    ],
)
async def test_requests_that_prove_nothing(network: Network, changed: dict[str, str]) -> None:
    alpha, beta = await pair(network)
    status, answer = await beta.ask(alpha, "GET", PROFILE, **changed)
    assert (status, answer["errcode"]) == (401, "M_UNAUTHORIZED")


async def test_the_body_is_covered(network: Network) -> None:
    alpha, beta = await pair(network)
    question = {"device_keys": {"@alice:alpha.test": []}}
    status, answer = await beta.ask(alpha, "POST", QUERY, question, body={"device_keys": {}})
    assert (status, answer["errcode"]) == (401, "M_UNAUTHORIZED")


async def test_bodies_of_old_rooms_may_hold_any_number(network: Network) -> None:
    alpha, beta = await pair(network)
    header = authorization_header(
        "POST", QUERY, "beta.test", "alpha.test", beta.key, {"device_keys": {}, "n": 2**70, "f": 0.5}
    )
    body = b'{"device_keys": {}, "n": 1180591620717411303424, "f": 0.5}'
    async with (
        aiohttp.ClientSession() as session,
        session.post(alpha.url + QUERY, data=body, headers={"Authorization": header}) as answer,
    ):
        assert answer.status == 200


async def test_a_body_that_is_no_json(network: Network) -> None:
    alpha, beta = await pair(network)
    header = authorization_header("POST", QUERY, "beta.test", "alpha.test", beta.key, {})
    async with (
        aiohttp.ClientSession() as session,
        session.post(alpha.url + QUERY, data=b"{", headers={"Authorization": header}) as answer,
    ):
        assert (answer.status, (await answer.json())["errcode"]) == (400, "M_NOT_JSON")


async def test_old_servers_leave_the_destination_out_of_the_header(network: Network) -> None:
    alpha, beta = await pair(network)
    header = authorization_header("GET", PROFILE, "beta.test", "alpha.test", beta.key)
    status, _ = await beta.ask(alpha, "GET", PROFILE, header=header.replace('destination="alpha.test",', ""))
    assert status == 200


async def test_a_server_with_two_keys_may_sign_twice(network: Network) -> None:
    alpha, beta = await pair(network)
    other = SigningKey("other", b"x" * 32)
    headers = [
        ("Authorization", authorization_header("GET", PROFILE, "beta.test", "alpha.test", key))
        for key in (other, beta.key)
    ]
    async with (
        aiohttp.ClientSession() as session,
        session.get(URL(alpha.url + PROFILE, encoded=True), headers=headers) as answer,
    ):
        assert answer.status == 200


async def test_denied_servers(network: Network) -> None:
    alpha, beta = await pair(network, deny=["beta.test"])
    status, answer = await beta.ask(alpha, "GET", PROFILE)
    assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")
    assert beta.asked == []


async def test_only_allowed_servers(network: Network) -> None:
    alpha, beta = await pair(network, allow=["*.example"])
    status, answer = await beta.ask(alpha, "GET", PROFILE)
    assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")


async def test_nobody_speaks_for_ourselves(network: Network) -> None:
    alpha, beta = await pair(network)
    header = authorization_header("GET", PROFILE, "alpha.test", "alpha.test", alpha.homeserver.signing_key)
    status, answer = await beta.ask(alpha, "GET", PROFILE, header=header)
    assert (status, answer["errcode"]) == (401, "M_UNAUTHORIZED")


async def test_without_federation_there_is_nothing(network: Network) -> None:
    alpha = await network.add("alpha.test", federation={"enabled": False})
    beta = await network.add_fake("beta.test")
    status, answer = await beta.ask(alpha, "GET", PROFILE)
    assert (status, answer["errcode"]) == (404, "M_UNRECOGNIZED")
