"""What encryption adds to a sync, and what is forgotten in time."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from encryption_app import (
    ALICE,
    BOB,
    CAROL,
    EncryptionApp,
    cross_signing_keys_of,
    device_keys_of,
    one_time_keys,
    put_in_room,
    running_encryption_app,
)

from homeserver.protocol.edus import DirectToDevice
from homeserver.services.devices.device_keys import KeyUpload
from homeserver.services.devices.device_news import MOST_AT_ONCE
from homeserver.services.sync.request import KeyCounts, ToDevice
from homeserver.storage.changes import Change
from homeserver.storage.database import load_position
from homeserver.storage.one_time_keys import Wanted, claim_keys
from homeserver.storage.to_device import load_waiting

CURVE = "signed_curve25519"


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[EncryptionApp]:
    async with running_encryption_app(tmp_path) as running:
        await running.user("alice", "PHONE")
        await running.user("bob", "LAPTOP")
        yield running


class CountedReads:
    """Counts the reads of a database while it looks on."""

    def __init__(self, app: EncryptionApp, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        read: Any = app.database.read

        def counted(*args: Any) -> Any:
            self.count += 1
            return read(*args)

        monkeypatch.setattr(app.database, "read", counted)


@pytest.fixture
def reads(app: EncryptionApp, monkeypatch: pytest.MonkeyPatch) -> CountedReads:
    return CountedReads(app, monkeypatch)


async def position(app: EncryptionApp) -> int:
    return await app.database.read(load_position)


async def send(app: EncryptionApp, *numbers: int) -> None:
    for number in numbers:
        await app.to_device.send(BOB, "LAPTOP", "m.x", f"t{number}", {ALICE: {"PHONE": {"n": number}}})


def numbers_in(found: ToDevice) -> list[int]:
    return [event["content"]["n"] for event in orjson.loads(orjson.dumps(found.events))]


async def test_messages_stay_until_they_have_arrived(app: EncryptionApp) -> None:
    start = await position(app)
    await send(app, 1, 2)
    end = await position(app)
    for _ in range(2):
        found = await app.news.to_device(ALICE, "PHONE", start, end)
        assert (numbers_in(found), found.up_to, found.more) == ([1, 2], end, False)
    event = orjson.loads(orjson.dumps(found.events[0]))
    assert event == {"type": "m.x", "sender": BOB, "content": {"n": 1}}
    assert (await app.news.to_device(ALICE, "PHONE", end, end)).events == []
    assert await app.database.read(load_waiting, ALICE, "PHONE", 0, 10) == (False, [])


async def test_messages_after_the_span_wait_for_the_next(app: EncryptionApp) -> None:
    await send(app, 1)
    middle = await position(app)
    await send(app, 2)
    assert numbers_in(await app.news.to_device(ALICE, "PHONE", 0, middle)) == [1]
    assert numbers_in(await app.news.to_device(ALICE, "PHONE", middle, await position(app))) == [2]


async def test_long_queues_come_in_parts(app: EncryptionApp) -> None:
    await send(app, *range(MOST_AT_ONCE + 5))
    end = await position(app)
    first = await app.news.to_device(ALICE, "PHONE", 0, end)
    assert (len(first.events), first.more) == (MOST_AT_ONCE, True)
    assert first.up_to < end
    second = await app.news.to_device(ALICE, "PHONE", first.up_to, end)
    assert (numbers_in(second), second.more) == (list(range(MOST_AT_ONCE, MOST_AT_ONCE + 5)), False)
    assert numbers_in(first) + numbers_in(second) == list(range(MOST_AT_ONCE + 5))


async def test_an_idle_device_costs_no_database_work(app: EncryptionApp, reads: CountedReads) -> None:
    await app.news.to_device(ALICE, "PHONE", 0, 1)
    before = reads.count
    assert before > 0
    for up_to in range(2, 5):
        assert await app.news.to_device(ALICE, "PHONE", 0, up_to) == ToDevice([], up_to)
    assert reads.count == before
    await send(app, 1)
    assert numbers_in(await app.news.to_device(ALICE, "PHONE", 0, await position(app))) == [1]


async def test_a_message_that_comes_during_a_look_is_not_overlooked(
    app: EncryptionApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: Any = app.database.read

    async def slow_read(*args: Any) -> Any:
        found = await read(*args)
        if args[0] is load_waiting:
            monkeypatch.undo()
            await send(app, 1)
        return found

    monkeypatch.setattr(app.database, "read", slow_read)
    assert (await app.news.to_device(ALICE, "PHONE", 0, 1)).events == []
    assert numbers_in(await app.news.to_device(ALICE, "PHONE", 0, await position(app))) == [1]


async def test_key_counts_are_remembered_until_they_change(app: EncryptionApp, reads: CountedReads) -> None:
    assert await app.news.key_counts(ALICE, "PHONE") == KeyCounts({CURVE: 0}, ())
    fallback = {f"{CURVE}:f": {"key": "f", "fallback": True}}
    await app.keys.upload(ALICE, "PHONE", KeyUpload(None, one_time_keys("a"), fallback))
    assert await app.news.key_counts(ALICE, "PHONE") == KeyCounts({CURVE: 1}, (CURVE,))
    before = reads.count
    assert await app.news.key_counts(ALICE, "PHONE") == KeyCounts({CURVE: 1}, (CURVE,))
    assert reads.count == before
    for left in ((CURVE,), ()):
        await app.keys.claim({ALICE: {"PHONE": CURVE}}, 1000)
        assert await app.news.key_counts(ALICE, "PHONE") == KeyCounts({CURVE: 0}, left)


async def test_key_counts_follow_other_processes(app: EncryptionApp) -> None:
    await app.keys.upload(ALICE, "PHONE", KeyUpload(None, one_time_keys("a", "b")))
    assert (await app.news.key_counts(ALICE, "PHONE")).one_time == {CURVE: 2}
    app.database.on_commit(lambda changes, position: None)
    await app.database.write(claim_keys, [Wanted(ALICE, "PHONE", CURVE)])
    assert (await app.news.key_counts(ALICE, "PHONE")).one_time == {CURVE: 2}
    app.news.follow([Change(await position(app), "one_time_keys", user_ids=(ALICE,))])
    assert (await app.news.key_counts(ALICE, "PHONE")).one_time == {CURVE: 1}


async def test_a_device_made_anew_has_no_keys(app: EncryptionApp) -> None:
    await app.keys.upload(ALICE, "PHONE", KeyUpload(None, one_time_keys("a")))
    assert (await app.news.key_counts(ALICE, "PHONE")).one_time == {CURVE: 1}
    await app.devices.delete(ALICE, ["PHONE"])
    await app.user("alice", "PHONE")
    assert (await app.news.key_counts(ALICE, "PHONE")).one_time == {CURVE: 0}


async def test_known_key_counts_cost_next_to_nothing(app: EncryptionApp) -> None:
    await app.news.key_counts(ALICE, "PHONE")
    best = 1.0
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(2000):
            await app.news.key_counts(ALICE, "PHONE")
        best = min(best, (time.perf_counter() - started) / 2000)
    assert best < 5e-6  # a fifth of that where nothing else runs


async def test_device_lists_change_with_devices_and_keys(app: EncryptionApp) -> None:
    await put_in_room(app.database, 1, ALICE, BOB)

    async def changed_by(work: Any) -> tuple[set[str], set[str]]:
        start = await position(app)
        await work
        end = await position(app)
        news = app.news
        return (
            await news.changed_device_lists(ALICE, start, end),
            await news.changed_device_lists(CAROL, start, end),
        )

    seen = ({BOB}, set[str]())
    assert await changed_by(app.user("bob", "TABLET")) == seen
    assert await changed_by(app.devices.rename(BOB, "TABLET", "Tablet")) == seen
    keys = KeyUpload(device_keys_of(BOB, "TABLET"))
    assert await changed_by(app.keys.upload(BOB, "TABLET", keys)) == seen
    assert await changed_by(app.keys.upload(BOB, "TABLET", keys)) == (set(), set())
    assert await changed_by(app.keys.upload(BOB, "TABLET", KeyUpload(None, one_time_keys("a")))) == (set(), set())
    assert await changed_by(app.cross_signing.upload(BOB, cross_signing_keys_of(BOB), confirmed=False)) == seen
    assert await changed_by(app.devices.delete(BOB, ["TABLET"])) == seen
    assert await changed_by(app.devices.rename(ALICE, "PHONE", "Phone")) == ({ALICE}, set())


async def test_messages_of_other_servers_come_once(app: EncryptionApp) -> None:
    sender = "@zoe:remote.example"
    message = DirectToDevice(sender, "m.x", "id", {ALICE: {"*": {"n": 1}}, "@other:elsewhere.example": {"*": {}}})
    for _ in range(2):
        await app.to_device.receive(message)
    found = await app.news.to_device(ALICE, "PHONE", 0, await position(app))
    assert orjson.loads(orjson.dumps(found.events)) == [{"type": "m.x", "sender": sender, "content": {"n": 1}}]
    assert app.other.queued == []


async def test_retention(app: EncryptionApp) -> None:
    settings = app.base.settings.retention
    await send(app, 1)
    await app.clock.advance(settings.transaction_ids / 1000 + 1)
    await app.retention.run()
    await send(app, 1)
    end = await position(app)
    assert numbers_in(await app.news.to_device(ALICE, "PHONE", 0, end)) == [1, 1]
    await put_in_room(app.database, 1, ALICE, BOB)
    assert await app.news.changed_device_lists(ALICE, 0, end) == {ALICE, BOB}
    await app.clock.advance(settings.to_device / 1000 + 1)
    await app.retention.run()
    assert numbers_in(await app.news.to_device(ALICE, "PHONE", 0, end)) == []
    assert await app.news.changed_device_lists(ALICE, 0, end) == set()


async def test_a_closed_account_keeps_no_cross_signing_keys(app: EncryptionApp) -> None:
    await app.cross_signing.upload(ALICE, cross_signing_keys_of(ALICE), confirmed=False)
    await app.backups.create(ALICE, "a", {})
    await app.retention.account_deactivated(ALICE, erase=False)
    found, _ = await app.keys.query(ALICE, {ALICE: []}, 1000)
    assert found.master_keys == found.user_signing_keys == {}
    assert (await app.backups.current(ALICE))["version"] == "1"
    await app.retention.account_deactivated(ALICE, erase=True)
    assert await app.backups.create(ALICE, "a", {}) == "1"
