"""Backups of room keys over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from accounts_app import V3
from encryption_app import EncryptionApp, running_encryption_app

from homeserver.testing import AsgiClient, path_of

VERSION, KEYS = f"{V3}/room_keys/version", f"{V3}/room_keys/keys"
ALGORITHM = "m.megolm_backup.v1.curve25519-aes-sha2"
BACKUP = {"algorithm": ALGORITHM, "auth_data": {"public_key": "abcdefg"}}
ROOM, OTHER_ROOM, SESSION = "!room:example.org", "!other:example.org", "session/1+="


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[EncryptionApp]:
    async with running_encryption_app(tmp_path) as running:
        yield running


@pytest.fixture
async def alice(app: EncryptionApp) -> AsgiClient:
    return await app.user("alice", "PHONE")


def key(index: int = 1, forwarded: int = 0, verified: bool = False, **data: Any) -> dict[str, Any]:
    return {
        "first_message_index": index,
        "forwarded_count": forwarded,
        "is_verified": verified,
        "session_data": {"ciphertext": "base64", **data},
    }


def keys_path(*ids: str, version: str = "1") -> str:
    return f"{KEYS}{path_of(*ids)}?version={version}"


async def test_versions(alice: AsgiClient) -> None:
    missing = await alice.get(VERSION)
    assert (missing.status, missing.json["errcode"]) == (404, "M_NOT_FOUND")
    assert (await alice.post(VERSION, BACKUP)).json == {"version": "1"}
    state = {"count": 0, "etag": "0"}
    assert (await alice.get(VERSION)).json == {**BACKUP, **state, "version": "1"}
    assert (await alice.post(VERSION, BACKUP)).json == {"version": "2"}
    assert (await alice.get(VERSION)).json == {**BACKUP, **state, "version": "2"}
    assert (await alice.get(f"{VERSION}/1")).json == {**BACKUP, **state, "version": "1"}
    for unknown in ("3", "0", "x", "-1", "9" * 30, "%C2%B2"):
        for method in ("GET", "DELETE"):
            answer = await alice.request(method, f"{VERSION}/{unknown}")
            assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")
    assert (await alice.post(VERSION, {"algorithm": ALGORITHM})).json["errcode"] == "M_BAD_JSON"


async def test_changing_a_version(alice: AsgiClient) -> None:
    await alice.post(VERSION, BACKUP)
    changed = {"algorithm": ALGORITHM, "auth_data": {"public_key": "other", "signatures": {}}}
    answer = await alice.put(f"{VERSION}/1", {**changed, "version": "1"})
    assert (answer.status, answer.json) == (200, {})
    assert (await alice.get(VERSION)).json["auth_data"] == changed["auth_data"]
    for wrong in ({**changed, "algorithm": "other"}, {**changed, "version": "2"}):
        assert (await alice.put(f"{VERSION}/1", wrong)).json["errcode"] == "M_INVALID_PARAM"
    assert (await alice.put(f"{VERSION}/2", changed)).json["errcode"] == "M_NOT_FOUND"


async def test_deleting_versions(alice: AsgiClient) -> None:
    await alice.post(VERSION, BACKUP)
    await alice.put(keys_path(ROOM, SESSION), key())
    for _ in range(2):
        answer = await alice.delete(f"{VERSION}/1")
        assert (answer.status, answer.json) == (200, {})
    assert (await alice.get(VERSION)).status == 404
    assert (await alice.get(f"{VERSION}/1")).status == 404
    assert (await alice.get(keys_path())).status == 404
    assert (await alice.put(keys_path(ROOM, SESSION), key())).json["errcode"] == "M_NOT_FOUND"
    assert (await alice.post(VERSION, BACKUP)).json == {"version": "2"}
    assert (await alice.delete(f"{VERSION}/1")).status == 200
    assert (await alice.get(keys_path(version="2"))).json == {"rooms": {}}


async def test_keys_at_every_level(alice: AsgiClient) -> None:
    await alice.post(VERSION, BACKUP)
    one, two, three = key(1), key(2, 1, True, more={"a": 1}), key(3)
    assert (await alice.put(keys_path(ROOM, SESSION), one)).json == {"count": 1, "etag": "1"}
    assert (await alice.put(keys_path(ROOM), {"sessions": {"s2": two}})).json == {"count": 2, "etag": "2"}
    body = {"rooms": {OTHER_ROOM: {"sessions": {SESSION: three}}, ROOM: {"sessions": {"s2": two}}}}
    assert (await alice.put(keys_path(), body)).json == {"count": 3, "etag": "3"}
    assert (await alice.get(f"{VERSION}/1")).json == {**BACKUP, "version": "1", "count": 3, "etag": "3"}
    rooms = {ROOM: {"sessions": {SESSION: one, "s2": two}}, OTHER_ROOM: {"sessions": {SESSION: three}}}
    assert (await alice.get(keys_path())).json == {"rooms": rooms}
    assert (await alice.get(keys_path(ROOM))).json == rooms[ROOM]
    assert (await alice.get(keys_path(ROOM, "s2"))).json == two
    assert (await alice.get(keys_path("!none:example.org"))).json == {"sessions": {}}
    missing = await alice.get(keys_path(ROOM, "none"))
    assert (missing.status, missing.json["errcode"]) == (404, "M_NOT_FOUND")
    assert (await alice.delete(keys_path(ROOM, "none"))).json == {"count": 3, "etag": "3"}
    assert (await alice.delete(keys_path(ROOM, SESSION))).json == {"count": 2, "etag": "4"}
    assert (await alice.delete(keys_path(OTHER_ROOM))).json == {"count": 1, "etag": "5"}
    assert (await alice.get(keys_path())).json == {"rooms": {ROOM: {"sessions": {"s2": two}}}}
    assert (await alice.delete(keys_path())).json == {"count": 0, "etag": "6"}


async def test_a_worse_key_changes_nothing(alice: AsgiClient) -> None:
    await alice.post(VERSION, BACKUP)
    path = keys_path(ROOM, SESSION)
    good = key(2, 1)
    await alice.put(path, good)
    for worse in (key(3, 0), key(2, 2), good):
        assert (await alice.put(path, worse)).json == {"count": 1, "etag": "1"}
    assert (await alice.get(path)).json == good
    for number, better in enumerate((key(2, 0), key(1, 9), key(50, 50, True)), 2):
        assert (await alice.put(path, better)).json == {"count": 1, "etag": str(number)}
        assert (await alice.get(path)).json == better


async def test_only_the_current_version_takes_keys(alice: AsgiClient) -> None:
    await alice.post(VERSION, BACKUP)
    await alice.post(VERSION, BACKUP)
    bodies = {(): {"rooms": {}}, (ROOM,): {"sessions": {}}, (ROOM, SESSION): key()}
    for ids, body in bodies.items():
        answer = await alice.put(keys_path(*ids), body)
        assert (answer.status, answer.json["errcode"]) == (403, "M_WRONG_ROOM_KEYS_VERSION")
        assert answer.json["current_version"] == "2"
        assert (await alice.put(keys_path(*ids, version="2"), body)).status == 200
        assert (await alice.put(keys_path(*ids, version="3"), body)).json["errcode"] == "M_NOT_FOUND"


async def test_requests_are_checked(app: EncryptionApp, alice: AsgiClient) -> None:
    await alice.post(VERSION, BACKUP)
    assert (await alice.get(KEYS)).json["errcode"] == "M_MISSING_PARAM"
    assert (await alice.put(KEYS, {"rooms": {}})).json["errcode"] == "M_MISSING_PARAM"
    wrong: list[dict[str, Any]] = [{**key(), "is_verified": "yes"}, key(-1), key(2**60), {**key(), "session_data": "x"}]
    for body in [*wrong, {}]:
        assert (await alice.put(keys_path(ROOM, SESSION), body)).json["errcode"] == "M_BAD_JSON"
    assert (await alice.put(keys_path(ROOM, "%00"), key())).status == 200
    odd = f"{KEYS}/{ROOM}/%00?version=1"
    assert (await alice.put(odd, key())).json["errcode"] == "M_INVALID_PARAM"
    assert (await alice.get(odd)).status == 404
    assert (await alice.delete(odd)).json == {"count": 1, "etag": "1"}
    bob = await app.user("bob", "LAPTOP")
    for method in ("GET", "DELETE"):
        assert (await bob.request(method, keys_path())).status == 404
