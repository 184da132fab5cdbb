"""Cross-signing keys, when they need confirmation, and who sees which signature."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from accounts_app import V3, password_of
from encryption_app import (
    ALICE,
    BOB,
    CAROL,
    REMOTE,
    EncryptionApp,
    cross_signing_key,
    cross_signing_keys_of,
    cross_signing_pair,
    device_keys_of,
    key_pair,
    running_encryption_app,
)

from homeserver.protocol.errors import MatrixError
from homeserver.protocol.signing import SigningKey, sign_json
from homeserver.testing import AsgiClient

UPLOAD, SIGN, QUERY = f"{V3}/keys/device_signing/upload", f"{V3}/keys/signatures/upload", f"{V3}/keys/query"
KEYS = cross_signing_keys_of(ALICE)
MASTER = cross_signing_pair(f"{ALICE} master")


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[EncryptionApp]:
    async with running_encryption_app(tmp_path) as running:
        yield running


@pytest.fixture
async def alice(app: EncryptionApp) -> AsgiClient:
    return await user_with_keys(app, "alice", "PHONE")


async def user_with_keys(app: EncryptionApp, name: str, device_id: str) -> AsgiClient:
    client = await app.user(name, device_id)
    keys = device_keys_of(f"@{name}:example.org", device_id)
    assert (await client.post(f"{V3}/keys/upload", {"device_keys": keys})).status == 200
    return client


async def user_with_cross_signing(app: EncryptionApp, name: str, device_id: str) -> AsgiClient:
    client = await user_with_keys(app, name, device_id)
    assert (await client.post(UPLOAD, cross_signing_keys_of(f"@{name}:example.org"))).status == 200
    return client


async def query(client: AsgiClient, *user_ids: str) -> Any:
    return (await client.post(QUERY, {"device_keys": {user_id: [] for user_id in user_ids}})).json


async def test_the_first_keys_need_no_confirmation(app: EncryptionApp, alice: AsgiClient) -> None:
    answer = await alice.post(UPLOAD, KEYS)
    assert (answer.status, answer.json) == (200, {})
    assert (await alice.post(UPLOAD, KEYS)).status == 200
    assert (await alice.post(UPLOAD, {"self_signing_key": KEYS["self_signing_key"]})).status == 200
    found = await query(alice, ALICE)
    assert found["master_keys"] == {ALICE: KEYS["master_key"]}
    assert found["self_signing_keys"] == {ALICE: KEYS["self_signing_key"]}
    assert found["user_signing_keys"] == {ALICE: KEYS["user_signing_key"]}
    bob = await app.user("bob", "LAPTOP")
    seen = await query(bob, ALICE)
    assert seen["master_keys"] == found["master_keys"]
    assert seen["self_signing_keys"] == found["self_signing_keys"]
    assert seen["user_signing_keys"] == {}
    devices = await app.keys.user_devices(ALICE)
    assert (devices["master_key"], devices["self_signing_key"]) == (KEYS["master_key"], KEYS["self_signing_key"])


async def test_other_keys_need_confirmation(app: EncryptionApp, alice: AsgiClient) -> None:
    await alice.post(UPLOAD, KEYS)
    other = cross_signing_key(ALICE, "user_signing", cross_signing_pair("other"), by=MASTER)
    first = await alice.post(UPLOAD, {"user_signing_key": other})
    assert (first.status, first.json["flows"]) == (401, [{"stages": ["m.login.password"]}])
    assert (await query(alice, ALICE))["user_signing_keys"] == {ALICE: KEYS["user_signing_key"]}
    auth = {"type": "m.login.password", "session": first.json["session"], **password_of("alice")}
    swapped = cross_signing_key(ALICE, "user_signing", cross_signing_pair("third"), by=MASTER)
    assert (await alice.post(UPLOAD, {"user_signing_key": swapped, "auth": auth})).status == 403
    # The session remembers the keys.
    assert (await alice.post(UPLOAD, {"auth": auth})).status == 200
    assert (await query(alice, ALICE))["user_signing_keys"] == {ALICE: other}


async def test_a_new_master_key_ends_what_the_old_one_signed(app: EncryptionApp, alice: AsgiClient) -> None:
    await alice.post(UPLOAD, KEYS)
    master = cross_signing_pair("new master")
    self_signing = cross_signing_key(
        ALICE, "self_signing", cross_signing_pair(f"{ALICE} self"), by=master
    )  # the same key as before, signed anew
    body = {"master_key": cross_signing_key(ALICE, "master", master), "self_signing_key": self_signing}
    assert (await app.base.confirmed(alice, "POST", UPLOAD, "alice", body)).status == 200
    found = await query(alice, ALICE)
    assert found["master_keys"] == {ALICE: body["master_key"]}
    assert found["self_signing_keys"] == {ALICE: self_signing}
    assert found["user_signing_keys"] == {}


async def test_application_services_confirm_nothing(app: EncryptionApp) -> None:
    user_id = "@_bridge_bot:example.org"
    await app.base.accounts.create("_bridge_bot", appservice_id="bridge")
    bridge = app.client.with_token("bridge-token")
    assert (await bridge.post(UPLOAD, cross_signing_keys_of(user_id))).status == 200
    master = cross_signing_key(user_id, "master", cross_signing_pair("another"))
    assert (await bridge.post(UPLOAD, {"master_key": master})).status == 200


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({}, "M_MISSING_PARAM"),
        ({"self_signing_key": KEYS["self_signing_key"]}, "M_MISSING_PARAM"),
        ({"master_key": {**KEYS["master_key"], "user_id": BOB}}, "M_INVALID_PARAM"),
        ({"master_key": KEYS["self_signing_key"]}, "M_INVALID_PARAM"),
        ({"master_key": {**KEYS["master_key"], "more": "x" * 70_000}}, "M_TOO_LARGE"),
        ({"master_key": "key"}, "M_INVALID_PARAM"),
        (
            {
                "master_key": KEYS["master_key"],
                "user_signing_key": cross_signing_key(
                    ALICE, "user_signing", cross_signing_pair("x"), by=cross_signing_pair("y")
                ),
            },
            "M_INVALID_SIGNATURE",
        ),
    ],
)
async def test_keys_are_checked(alice: AsgiClient, body: dict[str, Any], errcode: str) -> None:
    assert (await alice.post(UPLOAD, body)).json["errcode"] == errcode
    assert (await query(alice, ALICE))["master_keys"] == {}


async def test_devices_and_keys_do_not_share_ids(app: EncryptionApp, alice: AsgiClient) -> None:
    await app.user("alice", MASTER.verify_key_base64)
    answer = await alice.post(UPLOAD, KEYS)
    assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
    bob = await user_with_cross_signing(app, "bob", "LAPTOP")
    assert (await query(bob, BOB))["master_keys"] != {}
    taken = cross_signing_pair(f"{BOB} self").verify_key_base64
    with pytest.raises(MatrixError, match="M_FORBIDDEN"):
        await app.user("bob", taken)


async def sign(client: AsgiClient, signed: dict[str, Any]) -> Any:
    answer = await client.post(SIGN, signed)
    assert answer.status == 200, answer.body
    return answer.json["failures"]


def signature_in(key: dict[str, Any], user_id: str, by: SigningKey) -> str | None:
    found: str | None = key.get("signatures", {}).get(user_id, {}).get(by.key_id)
    return found


async def test_signatures_on_own_keys_are_seen_by_all(app: EncryptionApp) -> None:
    alice, bob = await user_with_cross_signing(app, "alice", "PHONE"), await app.user("bob", "LAPTOP")
    phone, self_key = key_pair("PHONE"), cross_signing_pair(f"{ALICE} self")
    master_id = MASTER.verify_key_base64
    signed = {
        ALICE: {
            "PHONE": sign_json(device_keys_of(ALICE, "PHONE"), ALICE, self_key),
            master_id: sign_json(KEYS["master_key"], ALICE, phone),
        }
    }
    app.changes.clear()
    assert await sign(alice, signed) == {}
    assert {(change.subject, change.user_ids) for change in app.changes} == {("device_list", (ALICE,))}
    for reader in (alice, bob):
        found = await query(reader, ALICE)
        device, master = found["device_keys"][ALICE]["PHONE"], found["master_keys"][ALICE]
        assert signature_in(device, ALICE, self_key)
        assert signature_in(device, ALICE, phone)
        assert signature_in(master, ALICE, phone)
    app.changes.clear()
    assert await sign(alice, signed) == {}
    assert app.changes == []


async def test_signatures_on_other_users_are_seen_by_the_signer_alone(app: EncryptionApp) -> None:
    alice, bob, carol = [
        await user_with_cross_signing(app, name, device)
        for name, device in (("alice", "PHONE"), ("bob", "LAPTOP"), ("carol", "TV"))
    ]
    user_key = cross_signing_pair(f"{ALICE} user")
    master = cross_signing_keys_of(BOB)["master_key"]
    bob_id = cross_signing_pair(f"{BOB} master").verify_key_base64
    assert await sign(alice, {BOB: {bob_id: sign_json(master, ALICE, user_key)}}) == {}
    seen = [(await query(reader, BOB))["master_keys"][BOB] for reader in (alice, bob, carol)]
    assert [bool(signature_in(key, ALICE, user_key)) for key in seen] == [True, False, False]
    local = await app.keys.query_local({BOB: []})
    assert "signatures" not in local.master_keys[BOB]


async def test_signatures_on_users_of_other_servers(app: EncryptionApp) -> None:
    alice, bob = await user_with_cross_signing(app, "alice", "PHONE"), await app.user("bob", "LAPTOP")
    pair, user_key = cross_signing_pair("remote"), cross_signing_pair(f"{ALICE} user")
    master = cross_signing_key(REMOTE, "master", pair)
    app.other.keys = {"master_keys": {REMOTE: master}}
    assert await sign(alice, {REMOTE: {pair.verify_key_base64: sign_json(master, ALICE, user_key)}}) == {}
    assert signature_in((await query(alice, REMOTE))["master_keys"][REMOTE], ALICE, user_key)
    assert (await query(bob, REMOTE))["master_keys"] == {REMOTE: master}
    app.other.keys = {"master_keys": {REMOTE: {**master, "signatures": {REMOTE: "junk"}}}}
    assert REMOTE in (await query(alice, REMOTE))["master_keys"]


async def test_bad_signatures_are_refused_one_by_one(app: EncryptionApp) -> None:
    alice = await user_with_cross_signing(app, "alice", "PHONE")
    await user_with_cross_signing(app, "bob", "LAPTOP")
    self_key, user_key = cross_signing_pair(f"{ALICE} self"), cross_signing_pair(f"{ALICE} user")
    phone = device_keys_of(ALICE, "PHONE")
    forged = sign_json(phone, ALICE, self_key)
    forged["signatures"][ALICE][self_key.key_id] = forged["signatures"][ALICE]["ed25519:PHONE"]
    master_id = MASTER.verify_key_base64
    bob_master = cross_signing_keys_of(BOB)["master_key"]
    bob_id = cross_signing_pair(f"{BOB} master").verify_key_base64
    failures = await sign(
        alice,
        {
            ALICE: {
                "PHONE": forged,
                "GONE": sign_json(device_keys_of(ALICE, "GONE"), ALICE, self_key),
                master_id: sign_json({**KEYS["master_key"], "usage": ["other"]}, ALICE, key_pair("PHONE")),
                cross_signing_pair(f"{ALICE} user").verify_key_base64: "junk",
            },
            BOB: {
                bob_id: sign_json(bob_master, ALICE, self_key),
                "LAPTOP": sign_json(device_keys_of(BOB, "LAPTOP"), ALICE, user_key),
            },
            REMOTE: {"key": {}},
            CAROL: {"key": {}},
        },
    )
    codes = {user_id: {key: error["errcode"] for key, error in found.items()} for user_id, found in failures.items()}
    assert codes == {
        ALICE: {
            "PHONE": "M_INVALID_SIGNATURE",
            "GONE": "M_NOT_FOUND",
            master_id: "M_INVALID_PARAM",
            user_key.verify_key_base64: "M_INVALID_PARAM",
        },
        BOB: {bob_id: "M_INVALID_SIGNATURE", "LAPTOP": "M_NOT_FOUND"},
        REMOTE: {"key": "M_NOT_FOUND"},
        CAROL: {"key": "M_NOT_FOUND"},
    }
    assert (await query(alice, ALICE))["device_keys"][ALICE]["PHONE"]["signatures"] == phone["signatures"]
    assert await sign(alice, {BOB: {bob_id: bob_master}}) == {
        BOB: {bob_id: {"errcode": "M_INVALID_SIGNATURE", "error": "The key carries no signature of yours."}}
    }
    assert (await alice.post(SIGN, {ALICE: []})).json["errcode"] == "M_BAD_JSON"


async def test_other_keys_of_a_device_need_other_signatures(app: EncryptionApp) -> None:
    alice = await user_with_cross_signing(app, "alice", "PHONE")
    self_key = cross_signing_pair(f"{ALICE} self")
    phone = device_keys_of(ALICE, "PHONE")
    assert await sign(alice, {ALICE: {"PHONE": sign_json(phone, ALICE, self_key)}}) == {}
    changed = {**phone, "keys": {**phone["keys"], "curve25519:PHONE": "another"}}
    assert (await alice.post(f"{V3}/keys/upload", {"device_keys": changed})).status == 200
    found = (await query(alice, ALICE))["device_keys"][ALICE]["PHONE"]
    assert signature_in(found, ALICE, self_key) is None
