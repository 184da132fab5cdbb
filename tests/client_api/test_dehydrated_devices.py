"""A dehydrated device over HTTP: seen with its keys by others, sent messages, woken, replaced and deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from encryption_app import device_keys_of, one_time_keys
from server_kit import Server, User, running_server

from homeserver.services.devices.dehydrated_devices import MOST_EVENTS
from homeserver.testing import Answer, path_of

DEVICE = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"
ID = "wjLpTLRqbqBzLs63aYaEv2Boi6cFEbbM/sSRQ2oAKk4"
DATA = {"algorithm": "m.dehydration.v2", "device_pickle": "secret", "nonce": "once"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as running:
        yield running


@pytest.fixture
async def alice(server: Server) -> User:
    return await server.user("alice")


async def _put(user: User, device_id: str = ID, **changes: Any) -> Answer:
    keys = {**device_keys_of(user.user_id, device_id), "dehydrated": True}
    body = {
        "device_id": device_id,
        "device_data": DATA,
        "device_keys": keys,
        "one_time_keys": one_time_keys("a"),
        "fallback_keys": {"signed_curve25519:f": {"key": "f", "fallback": True, "signatures": {}}},
        "initial_device_display_name": "Asleep",
        **changes,
    }
    return await user.client.request("PUT", DEVICE, json=body)


async def _events(user: User, **query: str) -> Any:
    answer = await user.client.request("GET", f"{DEVICE}{path_of(ID, 'events')}", query=query)
    assert answer.status == 200, answer.body
    return answer.json


async def _send(user: User, recipient: str, number: int) -> None:
    messages = {recipient: {ID: {"n": number}}}
    await user.call("PUT", f"/sendToDevice/m.room.encrypted/{number}", {"messages": messages})


async def test_it_is_uploaded_with_its_keys_and_fetched(server: Server, alice: User) -> None:
    assert (await alice.client.request("GET", DEVICE)).status == 404
    put = await _put(alice)
    assert (put.status, put.json) == (200, {"device_id": ID})
    assert (await alice.client.request("GET", DEVICE)).json == {"device_id": ID, "device_data": DATA}

    bob = await server.user("bob")
    assert (await bob.client.request("GET", DEVICE)).status == 404
    found = await bob.call("POST", "/keys/query", {"device_keys": {alice.user_id: []}})
    assert found["device_keys"][alice.user_id][ID]["dehydrated"] is True
    for expected in ("signed_curve25519:a", "signed_curve25519:f", "signed_curve25519:f"):
        wanted = {"one_time_keys": {alice.user_id: {ID: "signed_curve25519"}}}
        claimed = await bob.call("POST", "/keys/claim", wanted)
        assert list(claimed["one_time_keys"][alice.user_id][ID]) == [expected]


async def test_messages_are_paged_and_stay(server: Server, alice: User) -> None:
    await _put(alice)
    bob = await server.user("bob")
    count = MOST_EVENTS + 5
    for number in range(count):
        await _send(bob, alice.user_id, number)
    first = await _events(alice)
    second = await _events(alice, **{"from": first["next_batch"]})
    assert "next_batch" not in second
    numbers = [event["content"]["n"] for event in first["events"] + second["events"]]
    assert numbers == list(range(count))
    assert await _events(alice) == first, "whoever wakes it may begin again"

    seen, body = [], {}
    while True:
        answer = await alice.client.request("POST", f"{DEVICE}{path_of(ID, 'events')}", json=body)
        if not answer.json["events"]:
            break
        seen += [event["content"]["n"] for event in answer.json["events"]]
        body = {"next_batch": answer.json["next_batch"]}
    assert seen == numbers
    other = await alice.client.request("GET", f"{DEVICE}{path_of(alice.device_id, 'events')}")
    assert (other.status, other.json["errcode"]) == (403, "M_FORBIDDEN")


async def test_a_new_one_takes_the_place_of_the_old(alice: User) -> None:
    await _put(alice)
    await _put(alice, "another")
    devices = (await alice.call("GET", "/devices"))["devices"]
    assert sorted(device["device_id"] for device in devices) == sorted([alice.device_id, "another"])
    clash = await _put(alice, alice.device_id)
    assert (clash.status, clash.json["errcode"]) == (400, "M_INVALID_PARAM")
    assert (await alice.client.request("GET", DEVICE)).json["device_id"] == "another", "the failure changed nothing"


async def test_it_is_deleted_by_itself_and_like_any_device(server: Server, alice: User) -> None:
    await _put(alice)
    gone = await alice.client.request("DELETE", DEVICE)
    assert (gone.status, gone.json) == (200, {"device_id": ID})
    assert (await alice.client.request("DELETE", DEVICE)).status == 404
    found = await alice.call("POST", "/keys/query", {"device_keys": {alice.user_id: []}})
    assert ID not in found["device_keys"].get(alice.user_id, {})

    await _put(alice)
    await server.homeserver.accounts.devices.delete(alice.user_id, [ID])
    assert (await alice.client.request("GET", DEVICE)).status == 404


@pytest.mark.parametrize(
    "changes",
    [
        {"device_data": {}},
        {"device_keys": None},
        {"device_keys": device_keys_of("@alice:example.org", "other")},
        {"device_data": {"algorithm": "m", "pickle": "x" * 300_000}},
    ],
    ids=["no algorithm", "no keys", "keys of another", "too large"],
)
async def test_a_device_of_the_wrong_shape_is_refused(alice: User, changes: dict[str, Any]) -> None:
    assert (await _put(alice, **changes)).status in {400, 413}
    assert (await alice.client.request("GET", DEVICE)).status == 404
