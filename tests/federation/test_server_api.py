"""What other servers may ask, between two real homeservers and with the settings that limit it."""

from __future__ import annotations

from typing import Any

import pytest
from federation.network import FakeServer, FederatedServer, Network, eventually

from homeserver.protocol.errors import MatrixError

V1 = "/_matrix/federation/v1"


async def pair(network: Network, **sections: Any) -> tuple[FederatedServer, FederatedServer]:
    return await network.add("alpha.test", **sections), await network.add("beta.test")


def device_keys(user: Any) -> dict[str, Any]:
    return {
        "user_id": user.user_id,
        "device_id": user.device_id,
        "algorithms": ["m.megolm.v1.aes-sha2"],
        "keys": {f"ed25519:{user.device_id}": "c29tZSBrZXk"},
        "signatures": {user.user_id: {f"ed25519:{user.device_id}": "c2lnbmF0dXJl"}},
    }


async def test_keys_of_other_servers_users(network: Network) -> None:
    alpha, beta = await pair(network)
    alice, bob = await alpha.user("alice"), await beta.user("bob")
    one_time = {"signed_curve25519:A": {"key": "b25l", "signatures": {}}}
    await alice.call("POST", "/keys/upload", {"device_keys": device_keys(alice), "one_time_keys": one_time})
    await alice.call("PUT", f"/devices/{alice.device_id}", {"display_name": "secret name"})
    found = await bob.call("POST", "/keys/query", {"device_keys": {alice.user_id: [], "@x:nowhere.test": []}})
    device = found["device_keys"][alice.user_id][alice.device_id]
    assert device["keys"] == device_keys(alice)["keys"]
    assert device["unsigned"] == {}
    assert list(found["failures"]) == ["nowhere.test"]
    wanted = {"one_time_keys": {alice.user_id: {alice.device_id: "signed_curve25519"}}}
    claimed = await bob.call("POST", "/keys/claim", wanted)
    assert claimed["one_time_keys"][alice.user_id][alice.device_id] == one_time
    again = await bob.call("POST", "/keys/claim", wanted)
    assert again["one_time_keys"].get(alice.user_id, {}).get(alice.device_id, {}) == {}


@pytest.mark.parametrize("told", [True, False])
async def test_device_lists_and_the_policy_for_names(network: Network, told: bool) -> None:
    alpha, beta = await pair(network, federation={"device_names": told})
    alice = await alpha.user("alice")
    await alice.call("POST", "/keys/upload", {"device_keys": device_keys(alice)})
    await alice.call("PUT", f"/devices/{alice.device_id}", {"display_name": "a phone"})
    devices = await beta.federation.keys.fetch_devices("alpha.test", alice.user_id)
    [device] = devices["devices"]
    assert device["device_id"] == alice.device_id
    assert device.get("device_display_name") == ("a phone" if told else None)
    assert devices["stream_id"] > 0
    queried = await beta.federation.keys.query("alpha.test", {alice.user_id: []}, 5000)
    shown = queried["device_keys"][alice.user_id][alice.device_id]["unsigned"]
    assert shown == ({"device_display_name": "a phone"} if told else {})


async def test_device_lists_of_our_own_users_only(network: Network) -> None:
    alpha, gamma = await network.add("alpha.test"), await network.add_fake("gamma.test")
    status, answer = await gamma.ask(alpha, "GET", f"{V1}/user/devices/%40x%3Abeta.test")
    assert (status, answer["errcode"]) == (400, "M_INVALID_PARAM")


async def test_profiles(network: Network) -> None:
    alpha, beta = await pair(network)
    alice, bob = await alpha.user("alice"), await beta.user("bob")
    await alice.call("PUT", f"/profile/{alice.user_id}/displayname", {"displayname": "Älice"})
    assert await bob.call("GET", f"/profile/{alice.user_id}") == {"displayname": "Älice"}
    assert await bob.call("GET", f"/profile/{alice.user_id}/displayname") == {"displayname": "Älice"}
    for missing in ("@nobody:alpha.test", "@nobody:nowhere.test", f"{alice.user_id}/avatar_url"):
        answer = await bob.ask("GET", f"/profile/{missing}")
        assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")


async def test_profiles_may_be_kept_from_other_servers(network: Network) -> None:
    alpha = await network.add("alpha.test", federation={"profile_lookups": False})
    await alpha.user("alice")
    gamma = await network.add_fake("gamma.test")
    status, answer = await gamma.ask(alpha, "GET", f"{V1}/query/profile?user_id=%40alice%3Aalpha.test")
    assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    ("target", "status", "errcode"),
    [
        ("query/profile", 400, "M_MISSING_PARAM"),
        ("query/profile?user_id=alice", 400, "M_INVALID_PARAM"),
        ("query/profile?user_id=%40a%3Abeta.test", 400, "M_INVALID_PARAM"),
        ("query/profile?user_id=%40nobody%3Aalpha.test", 404, "M_NOT_FOUND"),
        ("query/directory", 400, "M_MISSING_PARAM"),
        ("query/directory?room_alias=%23x%3Abeta.test", 400, "M_INVALID_PARAM"),
        ("query/directory?room_alias=%23x%3Aalpha.test", 404, "M_NOT_FOUND"),
        ("query/something", 404, "M_UNRECOGNIZED"),
        ("nothing", 404, "M_UNRECOGNIZED"),
    ],
)
async def test_questions_without_an_answer(network: Network, target: str, status: int, errcode: str) -> None:
    alpha, gamma = await network.add("alpha.test"), await network.add_fake("gamma.test")
    answer = await gamma.ask(alpha, "GET", f"{V1}/{target}")
    assert (answer[0], answer[1]["errcode"]) == (status, errcode)


async def test_aliases(network: Network) -> None:
    alpha, beta = await pair(network)
    alice = await alpha.user("alice")
    room_id = await alice.create_room(room_alias_name="lounge")
    found = await beta.federation.directory.find_alias("#lounge:alpha.test")
    assert (found.room_id, found.servers) == (room_id, ("alpha.test",))
    assert await beta.federation.directory.find_alias("#other:alpha.test") is None
    with pytest.raises(MatrixError) as raised:
        await beta.federation.directory.find_alias("#other:nowhere.test")
    assert raised.value.status == 502


async def test_the_public_directory_where_it_is_shared(network: Network) -> None:
    alpha, beta = await pair(network, rooms={"public_directory_over_federation": True})
    alice = await alpha.user("alice")
    for name in ("one", "two"):
        await alice.create_room(preset="public_chat", visibility="public", name=name)
    page = await beta.federation.directory.fetch_public_rooms("alpha.test", {"limit": 1, "since": None})
    assert len(page["chunk"]) == 1
    assert page["total_room_count_estimate"] == 2
    rest = await beta.federation.directory.fetch_public_rooms("alpha.test", {"since": page["next_batch"]})
    assert {room["name"] for room in (*page["chunk"], *rest["chunk"])} == {"one", "two"}
    assert rest["chunk"][0]["num_joined_members"] == 1
    searched = {"filter": {"generic_search_term": "two"}}
    found = await beta.federation.directory.fetch_public_rooms("alpha.test", searched)
    assert [room["name"] for room in found["chunk"]] == ["two"]
    gamma = await network.add_fake("gamma.test")
    status, answer = await gamma.ask(alpha, "GET", f"{V1}/publicRooms?limit=0")
    assert (status, len(answer["chunk"])) == (200, 2)


async def test_the_public_directory_is_private_by_default(network: Network) -> None:
    alpha, gamma = await network.add("alpha.test"), await network.add_fake("gamma.test")
    for method, content in (("GET", None), ("POST", {})):
        arguments = [] if content is None else [content]
        status, answer = await gamma.ask(alpha, method, f"{V1}/publicRooms", *arguments)
        assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")


async def test_version_and_well_known_need_no_signature(network: Network) -> None:
    alpha = await network.add("alpha.test", well_known={"delegate_to": "matrix.alpha.test:443"})
    gamma = FakeServer("gamma.test")
    status, answer = await gamma.ask(alpha, "GET", f"{V1}/version", header="none")
    assert (status, answer["server"]["name"]) == (200, "Starling")
    assert answer["server"]["version"]
    status, answer = await gamma.ask(alpha, "GET", "/.well-known/matrix/server", header="none")
    assert (status, answer) == (200, {"m.server": "matrix.alpha.test:443"})


async def test_no_well_known_file_where_nothing_is_delegated(network: Network) -> None:
    alpha = await network.add("alpha.test")
    status, answer = await FakeServer("gamma.test").ask(alpha, "GET", "/.well-known/matrix/server", header="none")
    assert (status, answer["errcode"]) == (404, "M_NOT_FOUND")


class TestOpenId:
    async def test_a_token_tells_whose_it_is(self, network: Network) -> None:
        alpha = await network.add("alpha.test")
        alice = await alpha.user("alice")
        token = await alice.call("POST", f"/user/{alice.user_id}/openid/request_token", {})
        assert token["token_type"] == "Bearer"
        assert token["matrix_server_name"] == "alpha.test"
        assert token["expires_in"] == 3600
        status, answer = await self.look_up(alpha, token["access_token"])
        assert (status, answer) == (200, {"sub": alice.user_id})
        assert (await alice.client.with_token(token["access_token"]).get("/_matrix/client/v3/sync")).status == 401

    async def test_for_oneself_only(self, network: Network) -> None:
        alpha = await network.add("alpha.test")
        alice = await alpha.user("alice")
        answer = await alice.ask("POST", "/user/%40bob%3Aalpha.test/openid/request_token", {})
        assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")

    async def test_tokens_that_are_none(self, network: Network) -> None:
        alpha = await network.add("alpha.test")
        alice = await alpha.user("alice")
        login = alice.client._token
        for wrong in ("nonsense", login):
            status, answer = await self.look_up(alpha, str(wrong))
            assert (status, answer["errcode"]) == (401, "M_UNKNOWN_TOKEN")
        status, answer = await FakeServer("x.test").ask(alpha, "GET", f"{V1}/openid/userinfo", header="none")
        assert (status, answer["errcode"]) == (401, "M_MISSING_TOKEN")

    async def test_tokens_end(self, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("homeserver.services.openid.LIFETIME_MS", 200)
        alpha = await network.add("alpha.test")
        alice = await alpha.user("alice")
        token = await alice.call("POST", f"/user/{alice.user_id}/openid/request_token", {})

        async def is_over() -> bool:
            return (await self.look_up(alpha, token["access_token"]))[0] == 401

        await eventually(is_over)

    async def test_tokens_of_deactivated_users(self, network: Network) -> None:
        alpha = await network.add("alpha.test")
        alice = await alpha.user("alice")
        token = await alice.call("POST", f"/user/{alice.user_id}/openid/request_token", {})
        await alpha.homeserver.accounts.accounts.deactivate(alice.user_id)
        assert (await self.look_up(alpha, token["access_token"]))[0] == 401

    async def look_up(self, server: FederatedServer, token: str) -> tuple[int, Any]:
        target = f"{V1}/openid/userinfo?access_token={token}"
        return await FakeServer("anybody.test").ask(server, "GET", target, header="none")
