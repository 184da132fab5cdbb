"""Sending messages to devices."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from accounts_app import V3
from encryption_app import ALICE, BOB, REMOTE, EncryptionApp, running_encryption_app

from homeserver.protocol.edus import DirectToDevice
from homeserver.storage.database import load_position
from homeserver.testing import AsgiClient

SEND = f"{V3}/sendToDevice/m.room_key_request"


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[EncryptionApp]:
    async with running_encryption_app(tmp_path) as running:
        yield running


@pytest.fixture
async def alice(app: EncryptionApp) -> AsgiClient:
    await app.user("alice", "TABLET")
    await app.user("bob", "LAPTOP")
    return await app.user("alice", "PHONE")


async def waiting(app: EncryptionApp, user_id: str, device_id: str) -> Any:
    found = await app.news.to_device(user_id, device_id, 0, await app.database.read(load_position))
    return orjson.loads(orjson.dumps(found.events))


async def test_messages_reach_the_devices_named(app: EncryptionApp, alice: AsgiClient) -> None:
    messages = {ALICE: {"*": {"n": 1}, "TABLET": {"n": 2}}, BOB: {"LAPTOP": {"n": 3}, "GONE": {"n": 4}}, "junk": {}}
    answer = await alice.put(f"{SEND}/1", {"messages": messages})
    assert (answer.status, answer.json) == (200, {})
    message = {"type": "m.room_key_request", "sender": ALICE}
    assert await waiting(app, ALICE, "PHONE") == [{**message, "content": {"n": 1}}]
    assert await waiting(app, ALICE, "TABLET") == [{**message, "content": {"n": 2}}]
    assert await waiting(app, BOB, "LAPTOP") == [{**message, "content": {"n": 3}}]
    assert await waiting(app, BOB, "GONE") == []


async def test_the_same_transaction_sends_once(app: EncryptionApp, alice: AsgiClient) -> None:
    body: dict[str, Any] = {"messages": {BOB: {"LAPTOP": {}}, REMOTE: {"TV": {}}}}
    for _ in range(2):
        assert (await alice.put(f"{SEND}/1", body)).status == 200
    assert (len(await waiting(app, BOB, "LAPTOP")), len(app.other.queued)) == (1, 1)
    tablet = await app.user("alice", "WATCH")
    for client, path in ((tablet, f"{SEND}/1"), (alice, f"{SEND}/2"), (alice, f"{V3}/sendToDevice/m.other/1")):
        assert (await client.put(path, body)).status == 200
    assert (len(await waiting(app, BOB, "LAPTOP")), len(app.other.queued)) == (4, 4)
    message_ids = {message.message_id for _, message in app.other.queued}
    assert len(message_ids) == 4


async def test_messages_for_other_servers_are_queued(app: EncryptionApp, alice: AsgiClient) -> None:
    other = "@yan:away.example"
    messages = {REMOTE: {"*": {"n": 1}}, other: {"X": {"n": 2}}}
    assert (await alice.put(f"{SEND}/1", {"messages": messages})).status == 200
    queued = dict(app.other.queued)
    message_id = queued["remote.example"].message_id
    assert 0 < len(message_id) <= 32
    expected = DirectToDevice(ALICE, "m.room_key_request", message_id, {REMOTE: {"*": {"n": 1}}})
    assert queued["remote.example"] == expected
    assert queued["away.example"].messages == {other: {"X": {"n": 2}}}


async def test_bodies_are_checked(alice: AsgiClient) -> None:
    wrongs: list[Any] = [{}, {"messages": []}, {"messages": {ALICE: []}}, {"messages": {ALICE: {"PHONE": "text"}}}]
    for wrong in wrongs:
        assert (await alice.put(f"{SEND}/1", wrong)).json["errcode"] == "M_BAD_JSON"
    large = {"messages": {ALICE: {"PHONE": {"text": "x" * 70_000}}}}
    assert (await alice.put(f"{SEND}/1", large)).json["errcode"] == "M_TOO_LARGE"
    assert (await alice.put(f"{SEND}/%00", {"messages": {}})).json["errcode"] == "M_INVALID_PARAM"
