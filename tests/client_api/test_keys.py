"""Uploading, querying and claiming device keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from accounts_app import V3
from encryption_app import (
    ALICE,
    BOB,
    REMOTE,
    EncryptionApp,
    cross_signing_key,
    cross_signing_pair,
    device_keys_of,
    one_time_keys,
    put_in_room,
    running_encryption_app,
)

from homeserver.services.tokens import SyncToken
from homeserver.storage.database import load_position
from homeserver.testing import AsgiClient

UPLOAD, QUERY, CLAIM, CHANGES = (f"{V3}/keys/{name}" for name in ("upload", "query", "claim", "changes"))
CURVE = "signed_curve25519"
AWAY = "@yan:away.example"


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[EncryptionApp]:
    async with running_encryption_app(tmp_path) as running:
        yield running


@pytest.fixture
async def alice(app: EncryptionApp) -> AsgiClient:
    return await app.user("alice", "PHONE", "Alice's phone")


@pytest.fixture
async def bob(app: EncryptionApp) -> AsgiClient:
    return await app.user("bob", "LAPTOP")


async def query(client: AsgiClient, **wanted: list[str]) -> Any:
    answer = await client.post(QUERY, {"device_keys": wanted})
    assert answer.status == 200, answer.body
    return answer.json


async def test_uploads_are_counted(alice: AsgiClient) -> None:
    body = {"device_keys": device_keys_of(ALICE, "PHONE"), "one_time_keys": one_time_keys("a", "b")}
    answer = await alice.post(UPLOAD, body)
    assert (answer.status, answer.json) == (200, {"one_time_key_counts": {CURVE: 2}})
    assert (await alice.post(UPLOAD, {})).json == {"one_time_key_counts": {CURVE: 2}}
    again = await alice.post(UPLOAD, {"one_time_keys": one_time_keys("b", "c")})
    assert again.json == {"one_time_key_counts": {CURVE: 3}}
    assert (await alice.post(f"{UPLOAD}/PHONE", {})).status == 200
    assert (await alice.post(f"{UPLOAD}/OTHER", {})).json["errcode"] == "M_INVALID_PARAM"


async def test_counts_start_at_zero(alice: AsgiClient) -> None:
    assert (await alice.post(UPLOAD, {})).json == {"one_time_key_counts": {CURVE: 0}}


async def test_a_key_id_stands_for_one_key(alice: AsgiClient) -> None:
    keys = {"alg:a": "plain", f"{CURVE}:a": {"key": "k", "signatures": {}}}
    assert (await alice.post(UPLOAD, {"one_time_keys": keys})).status == 200
    signed_again = {f"{CURVE}:a": {"key": "k", "signatures": {ALICE: {"ed25519:PHONE": "other"}}}}
    assert (await alice.post(UPLOAD, {"one_time_keys": signed_again})).status == 200
    for other in ({f"{CURVE}:a": {"key": "l", "signatures": {}}}, {"alg:a": "other"}, {"alg:a": {"key": "plain"}}):
        answer = await alice.post(UPLOAD, {"one_time_keys": {**other, "alg:new": "k"}})
        assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")
    assert (await alice.post(UPLOAD, {})).json == {"one_time_key_counts": {CURVE: 1, "alg": 1}}


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({"device_keys": {**device_keys_of(ALICE, "PHONE"), "device_id": "OTHER"}}, "M_INVALID_PARAM"),
        ({"device_keys": device_keys_of(BOB, "PHONE")}, "M_INVALID_PARAM"),
        ({"device_keys": {"user_id": ALICE}}, "M_MISSING_PARAM"),
        ({"device_keys": []}, "M_BAD_JSON"),
        ({"device_keys": {**device_keys_of(ALICE, "PHONE"), "more": "x" * 70_000}}, "M_TOO_LARGE"),
        ({"one_time_keys": {"nocolon": "k"}}, "M_INVALID_PARAM"),
        ({"one_time_keys": {"alg:\x00": "k"}}, "M_INVALID_PARAM"),
        ({"one_time_keys": {"alg:a": {"no": "key"}}}, "M_INVALID_PARAM"),
        ({"one_time_keys": one_time_keys(*map(str, range(1001)))}, "M_TOO_LARGE"),
        ({"fallback_keys": {f"{CURVE}:a": {"key": "a"}, f"{CURVE}:b": {"key": "b"}}}, "M_INVALID_PARAM"),
    ],
)
async def test_uploads_are_checked(alice: AsgiClient, body: dict[str, Any], errcode: str) -> None:
    answer = await alice.post(UPLOAD, body)
    assert answer.json["errcode"] == errcode
    assert answer.status == (413 if errcode == "M_TOO_LARGE" else 400)
    assert (await query(alice, **{ALICE: []}))["device_keys"] == {ALICE: {}}
    assert (await alice.post(UPLOAD, {})).json == {"one_time_key_counts": {CURVE: 0}}


async def test_query(alice: AsgiClient, bob: AsgiClient) -> None:
    phone, laptop = device_keys_of(ALICE, "PHONE"), device_keys_of(BOB, "LAPTOP")
    await alice.post(UPLOAD, {"device_keys": {**phone, "unsigned": {"device_display_name": "forged"}}})
    await bob.post(UPLOAD, {"device_keys": laptop})
    nobody = "@nobody:example.org"
    assert await query(bob, **{ALICE: [], BOB: ["LAPTOP", "GONE"], nobody: [], "no user": []}) == {
        "device_keys": {
            ALICE: {"PHONE": {**phone, "unsigned": {"device_display_name": "Alice's phone"}}},
            BOB: {"LAPTOP": {**laptop, "unsigned": {}}},
        },
        "master_keys": {},
        "self_signing_keys": {},
        "user_signing_keys": {},
        "failures": {},
    }
    assert (await query(bob, **{ALICE: ["GONE"]}))["device_keys"] == {ALICE: {}}
    wrongs: list[Any] = [{}, {"device_keys": {ALICE: {}}}, {"device_keys": [ALICE]}, {"device_keys": {ALICE: [1]}}]
    for wrong in wrongs:
        assert (await bob.post(QUERY, wrong)).json["errcode"] == "M_BAD_JSON"


async def test_query_of_other_servers(app: EncryptionApp, alice: AsgiClient) -> None:
    device = device_keys_of(REMOTE, "TV")
    master = cross_signing_key(REMOTE, "master", cross_signing_pair("remote"))
    app.other.keys = {
        "device_keys": {
            REMOTE: {"TV": device, "FORGED": device, "JUNK": None, "UNASKED": device_keys_of(REMOTE, "UNASKED")},
            ALICE: {"PHONE": device_keys_of(ALICE, "PHONE")},
        },
        "master_keys": {REMOTE: master, ALICE: master},
        "self_signing_keys": None,
        "user_signing_keys": {REMOTE: master},
    }
    found = await query(alice, **{REMOTE: ["TV", "FORGED", "JUNK"], AWAY: []})
    assert found["device_keys"] == {REMOTE: {"TV": device}}
    assert found["master_keys"] == {REMOTE: master}
    assert found["self_signing_keys"] == found["user_signing_keys"] == {}
    assert list(found["failures"]) == ["away.example"]
    assert found["failures"]["away.example"]["errcode"] == "M_UNKNOWN"
    assert app.other.asked == [{REMOTE: ["TV", "FORGED", "JUNK"]}]


async def test_other_servers_see_no_more_than_everyone(app: EncryptionApp, alice: AsgiClient) -> None:
    await alice.post(UPLOAD, {"device_keys": device_keys_of(ALICE, "PHONE")})
    found = await app.keys.query_local({ALICE: [], REMOTE: []})
    assert list(found.device_keys) == [ALICE]
    devices = await app.keys.user_devices(ALICE)
    assert devices == {
        "user_id": ALICE,
        "stream_id": await app.database.read(load_position),
        "devices": [
            {
                "device_id": "PHONE",
                "keys": device_keys_of(ALICE, "PHONE"),
                "device_display_name": "Alice's phone",
            }
        ],
    }


async def test_claim(app: EncryptionApp, alice: AsgiClient, bob: AsgiClient) -> None:
    fallback = {f"{CURVE}:f": {"key": "fallback", "fallback": True, "signatures": {}}}
    await alice.post(UPLOAD, {"one_time_keys": one_time_keys("b"), "fallback_keys": fallback})
    await alice.post(UPLOAD, {"one_time_keys": one_time_keys("a")})
    wanted = {"one_time_keys": {ALICE: {"PHONE": CURVE, "GONE": CURVE}, BOB: {"LAPTOP": CURVE}}}
    for name in "ba":
        answer = await bob.post(CLAIM, wanted)
        assert answer.json == {"one_time_keys": {ALICE: {"PHONE": one_time_keys(name)}}, "failures": {}}
    for _ in range(2):
        assert (await bob.post(CLAIM, wanted)).json["one_time_keys"] == {ALICE: {"PHONE": fallback}}
    assert list(await app.keys.claim_local({ALICE: {"PHONE": CURVE}, REMOTE: {"TV": CURVE}})) == [ALICE]
    for wrong in ({}, {"one_time_keys": {ALICE: ["PHONE"]}}, {"one_time_keys": {ALICE: {"PHONE": 1}}}):
        assert (await bob.post(CLAIM, wrong)).json["errcode"] == "M_BAD_JSON"


async def test_claim_from_other_servers(app: EncryptionApp, alice: AsgiClient) -> None:
    app.other.one_time_keys = {REMOTE: {"TV": {"alg:a": "k"}, "OTHER": {"alg:b": "k"}}, ALICE: {"PHONE": {}}}
    wanted = {REMOTE: {"TV": "alg"}, AWAY: {"X": "alg"}}
    answer = (await alice.post(CLAIM, {"one_time_keys": wanted})).json
    assert answer["one_time_keys"] == {REMOTE: {"TV": {"alg:a": "k"}}}
    assert list(answer["failures"]) == ["away.example"]


async def test_changes(app: EncryptionApp, alice: AsgiClient, bob: AsgiClient) -> None:
    await put_in_room(app.database, 1, ALICE, BOB)
    start = await put_in_room(app.database, 2, "@carol:example.org")

    async def changes(after: int) -> Any:
        token = str(SyncToken(after))
        return (await alice.get(CHANGES, query={"from": token, "to": str(SyncToken(start))})).json

    assert await changes(start) == {"changed": [], "left": []}
    await bob.post(UPLOAD, {"device_keys": device_keys_of(BOB, "LAPTOP")})
    assert await changes(start) == {"changed": [BOB], "left": []}
    await put_in_room(app.database, 1, BOB, membership="leave")
    assert await changes(start) == {"changed": [], "left": [BOB]}
    await put_in_room(app.database, 1, "@carol:example.org")
    assert await changes(start) == {"changed": ["@carol:example.org"], "left": [BOB]}
    assert (await alice.get(CHANGES, query={"from": "s1_0_0"})).json["errcode"] == "M_MISSING_PARAM"
    assert (await alice.get(CHANGES, query={"from": "x", "to": "s1_0_0"})).json["errcode"] == "M_INVALID_PARAM"


async def test_deleted_devices_cannot_upload(app: EncryptionApp, alice: AsgiClient) -> None:
    await alice.post(UPLOAD, {"device_keys": device_keys_of(ALICE, "PHONE"), "one_time_keys": one_time_keys("a")})
    bob = await app.user("bob", "LAPTOP")
    assert (await alice.post(f"{V3}/logout", {})).status == 200
    assert (await alice.post(UPLOAD, {"one_time_keys": one_time_keys("b")})).status == 401
    assert (await query(bob, **{ALICE: []}))["device_keys"] == {ALICE: {}}
    assert (await bob.post(CLAIM, {"one_time_keys": {ALICE: {"PHONE": CURVE}}})).json["one_time_keys"] == {}


async def test_application_services_have_no_device_to_upload_for(app: EncryptionApp) -> None:
    bridge = app.client.with_token("bridge-token")
    assert (await bridge.post(UPLOAD, {})).json["errcode"] == "M_INVALID_PARAM"
