"""The repositories of keys, device lists, messages to devices and backups, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from encryption_app import ALICE, BOB, CAROL, device_keys_of, one_time_keys, put_in_room

from homeserver.runtime.clock import ManualClock
from homeserver.storage import cross_signing, device_keys, device_lists, devices, key_backups, to_device
from homeserver.storage import one_time_keys as otk
from homeserver.storage.accounts import User, create_user
from homeserver.storage.changes import Change
from homeserver.storage.cross_signing import CrossSigningKey, KeySignature
from homeserver.storage.database import Database
from homeserver.storage.device_keys import DeviceIdentity, EncryptionRows
from homeserver.storage.device_lists import CROSS_SIGNING, DeviceListChange
from homeserver.storage.devices import Device
from homeserver.storage.key_backups import BackedUpKey, Backup
from homeserver.storage.one_time_keys import Claimed, Wanted
from homeserver.storage.postgres import PostgresDatabase
from homeserver.storage.sqlite import SqliteDatabase
from homeserver.storage.to_device import NewMessage, SentUnder

CURVE = "signed_curve25519"
WANTED = Wanted(ALICE, "PHONE", CURVE)


@pytest.fixture(params=["sqlite", "postgres"])
def closed_database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """One of each kind. Not async: the PostgreSQL fixture runs an event loop of its own."""
    if request.param == "sqlite":
        return SqliteDatabase(tmp_path / "test.db", synchronous="OFF")
    return PostgresDatabase(request.getfixturevalue("fresh_postgres_url"))


@pytest.fixture
async def database(closed_database: Database) -> AsyncIterator[Database]:
    await closed_database.open()
    for user_id in (ALICE, BOB, CAROL):
        await closed_database.write(create_user, User(user_id, "user", 1))
    yield closed_database
    await closed_database.close()


@pytest.fixture
def changes(database: Database) -> list[Change]:
    """What is announced from now on."""
    announced: list[Change] = []
    database.on_commit(lambda some, position: announced.extend(some))
    return announced


async def add_device(database: Database, user_id: str, device_id: str, name: str | None = None) -> None:
    rows = [EncryptionRows(ManualClock(50))]
    assert await database.write(devices.create_device, user_id, Device(device_id, name, 1, None, None, None), rows)


async def test_one_time_keys_are_given_out_oldest_first(database: Database, changes: list[Change]) -> None:
    await database.write(otk.add_one_time_keys, ALICE, "PHONE", one_time_keys("z"))
    await database.write(otk.add_one_time_keys, ALICE, "PHONE", one_time_keys("a"))
    await database.write(otk.add_one_time_keys, ALICE, "PHONE", {"other:a": "plain"})
    await database.write(otk.add_one_time_keys, ALICE, "TABLET", one_time_keys("z"))
    counts = await database.read(otk.load_key_counts, ALICE, "PHONE")
    assert counts == ({CURVE: 2, "other": 1}, ())
    [first] = await database.write(otk.claim_keys, [WANTED])
    assert first == Claimed(ALICE, "PHONE", f"{CURVE}:z", b'{"key":"key z","signatures":{}}')
    both = await database.write(otk.claim_keys, [WANTED, Wanted(ALICE, "PHONE", "other")])
    assert [one.key_id for one in both] == [f"{CURVE}:a", "other:a"]
    assert await database.write(otk.claim_keys, [WANTED, Wanted(BOB, "PHONE", CURVE)]) == []
    assert [change.subject for change in changes] == ["one_time_keys", "one_time_keys"]
    newest = changes[-1].position
    assert await database.read(otk.load_changes, newest - 1, newest) == [changes[-1]]
    assert await database.read(otk.load_one_time_keys, ALICE, "TABLET") == one_time_keys("z")


async def test_fallback_keys_are_not_used_up(database: Database, changes: list[Change]) -> None:
    fallback = {"key": "fallback", "fallback": True}
    assert await database.write(otk.store_fallback_key, ALICE, "PHONE", f"{CURVE}:f", fallback)
    assert (await database.read(otk.load_key_counts, ALICE, "PHONE")).unused_fallback == (CURVE,)
    for _ in range(2):
        [claimed] = await database.write(otk.claim_keys, [WANTED])
        assert claimed.key_id == f"{CURVE}:f"
    assert len(changes) == 1
    assert (await database.read(otk.load_key_counts, ALICE, "PHONE")).unused_fallback == ()
    assert not await database.write(otk.store_fallback_key, ALICE, "PHONE", f"{CURVE}:f", fallback)
    assert (await database.read(otk.load_key_counts, ALICE, "PHONE")).unused_fallback == ()
    assert await database.write(otk.store_fallback_key, ALICE, "PHONE", f"{CURVE}:g", fallback)
    assert (await database.read(otk.load_key_counts, ALICE, "PHONE")).unused_fallback == (CURVE,)
    await database.write(otk.add_one_time_keys, ALICE, "PHONE", one_time_keys("a"))
    keys = await database.write(otk.claim_keys, [WANTED, WANTED])
    assert [key.key_id for key in keys] == [f"{CURVE}:a", f"{CURVE}:g"]


async def test_each_one_time_key_is_given_out_once(database: Database) -> None:
    names = [f"k{number:02}" for number in range(40)]
    await database.write(otk.add_one_time_keys, ALICE, "PHONE", one_time_keys(*names))
    claims = [database.write(otk.claim_keys, [WANTED]) for _ in range(50)]
    claimed = [key.key_id for keys in await asyncio.gather(*claims) for key in keys]
    assert sorted(claimed) == [f"{CURVE}:{name}" for name in names]


async def test_processes_do_not_give_out_the_same_key(fresh_postgres_url: str) -> None:
    processes = [PostgresDatabase(fresh_postgres_url, readers=1) for _ in range(2)]
    for process in processes:
        await process.open()
    try:
        names = [f"k{number:02}" for number in range(40)]
        await processes[0].write(otk.add_one_time_keys, ALICE, "PHONE", one_time_keys(*names))
        claims = [process.write(otk.claim_keys, [WANTED]) for _ in range(20) for process in processes]
        claimed = [[key.key_id for key in keys] for keys in await asyncio.gather(*claims)]
        assert sorted(claimed) == [[f"{CURVE}:{name}"] for name in names]
    finally:
        for process in processes:
            await process.close()


async def test_device_keys_and_their_changes(database: Database, changes: list[Change]) -> None:
    await add_device(database, ALICE, "PHONE", "My phone")
    keys = device_keys_of(ALICE, "PHONE")
    assert await database.write(device_keys.store_device_keys, ALICE, "PHONE", keys, 60)
    assert not await database.write(device_keys.store_device_keys, ALICE, "PHONE", keys, 70)
    found = await database.read(device_keys.load_device_keys, [ALICE, BOB, "@nobody:example.org"])
    assert found == {ALICE: {"PHONE": DeviceIdentity(keys, "My phone")}, BOB: {}}
    assert [(change.subject, change.user_ids) for change in changes] == [("device_list", (ALICE,))] * 2
    newest = changes[-1].position
    expected = [DeviceListChange(ALICE, "PHONE", newest)]
    assert await database.read(device_lists.load_device_list_changes, 0, newest, 10) == expected
    assert await database.read(device_lists.load_latest_change, ALICE) == newest
    assert await database.read(device_lists.load_latest_change, BOB) == 0
    assert await database.read(device_lists.load_changes, 0, newest) == [changes[-1]]
    assert await database.write(device_lists.delete_old_changes, 60) == 0
    assert await database.write(device_lists.delete_old_changes, 61) == 1


async def test_a_device_takes_everything_with_it(database: Database, changes: list[Change]) -> None:
    for name in ("PHONE", "TABLET"):
        await add_device(database, ALICE, name)
        await database.write(device_keys.store_device_keys, ALICE, name, device_keys_of(ALICE, name), 1)
        await database.write(otk.add_one_time_keys, ALICE, name, one_time_keys("a"))
        await database.write(otk.store_fallback_key, ALICE, name, f"{CURVE}:f", {"key": "f"})
        signature = KeySignature(ALICE, name, ALICE, "ed25519:self", "signature")
        await database.write(cross_signing.store_signatures, ALICE, [signature], [name], 1)
        assert await database.write(to_device.store_messages, [NewMessage(ALICE, name, b"{}")], 1) == 1
        assert await database.write(to_device.take_transaction, SentUnder(ALICE, name, "t", "1"), 1)
    changes.clear()
    rows = [EncryptionRows(ManualClock(50))]
    assert await database.write(devices.delete_devices, ALICE, ["PHONE"], rows) == ["PHONE"]
    assert [(change.subject, change.user_ids) for change in changes] == [("device_list", (ALICE,))]
    assert list((await database.read(device_keys.load_device_keys, [ALICE]))[ALICE]) == ["TABLET"]
    assert await database.read(otk.load_key_counts, ALICE, "PHONE") == ({}, ())
    assert await database.read(otk.load_key_counts, ALICE, "TABLET") == ({CURVE: 1}, (CURVE,))
    assert not (await database.read(to_device.load_waiting, ALICE, "PHONE", 0, 10)).messages
    assert (await database.read(to_device.load_waiting, ALICE, "TABLET", 0, 10)).messages
    assert list(await database.read(cross_signing.load_visible_signatures, [ALICE], ALICE)) == [(ALICE, "TABLET")]
    assert await database.write(to_device.take_transaction, SentUnder(ALICE, "PHONE", "t", "1"), 1)
    assert not await database.write(to_device.take_transaction, SentUnder(ALICE, "TABLET", "t", "1"), 1)


async def test_changed_users_are_those_in_the_same_rooms(database: Database) -> None:
    await put_in_room(database, 1, ALICE, BOB)
    start = await put_in_room(database, 2, CAROL)
    for user_id in (ALICE, BOB, CAROL):
        await database.write(device_lists.note_device_list_change, user_id, ["PHONE"], 1)
    end = start + 3
    assert await database.read(device_lists.load_changed_users, ALICE, start, end) == {ALICE, BOB}
    assert await database.read(device_lists.load_changed_users, ALICE, start, start + 1) == {ALICE}
    assert await database.read(device_lists.load_changed_users, ALICE, start + 1, end) == {BOB}
    assert await database.read(device_lists.load_changed_users, CAROL, start, end) == {CAROL}
    assert await database.read(device_lists.load_changed_users, CAROL, end, end + 9) == set()


async def test_who_came_and_who_went(database: Database) -> None:
    start = await put_in_room(database, 1, ALICE, BOB)
    await put_in_room(database, 2, ALICE, BOB)
    assert await database.read(device_lists.load_sharing_changes, ALICE, start) == ({BOB}, set())
    middle = await put_in_room(database, 1, CAROL)
    assert await database.read(device_lists.load_sharing_changes, ALICE, middle - 1) == ({CAROL}, set())
    before = await put_in_room(database, 1, BOB, membership="leave")
    assert await database.read(device_lists.load_sharing_changes, ALICE, before - 1) == (set(), set())
    await put_in_room(database, 2, ALICE, membership="leave")
    assert await database.read(device_lists.load_sharing_changes, ALICE, middle) == (set(), {BOB})
    assert await database.read(device_lists.load_sharing_changes, CAROL, middle) == (set(), {BOB})


async def test_cross_signing_keys_take_their_signatures_with_them(database: Database) -> None:
    def key(name: str) -> CrossSigningKey:
        return CrossSigningKey(name, {"keys": {f"ed25519:{name}": name}})

    keys = {"master": key("m1"), "self_signing": key("s1"), "user_signing": key("u1")}
    await database.write(cross_signing.store_cross_signing_keys, ALICE, keys, (), 1)
    assert await database.read(cross_signing.load_cross_signing_keys, [ALICE, BOB]) == {ALICE: keys}
    assert await database.write(cross_signing.lock_cross_signing_keys, ALICE) == keys
    assert await database.write(cross_signing.lock_cross_signing_keys, BOB) == {}
    assert await database.read(cross_signing.has_key, ALICE, "s1")
    assert not await database.read(cross_signing.has_key, BOB, "s1")
    signatures = [
        KeySignature(ALICE, "m1", ALICE, "ed25519:PHONE", "by phone"),
        KeySignature(ALICE, "PHONE", ALICE, "ed25519:s1", "by self"),
        KeySignature(BOB, "m2", ALICE, "ed25519:u1", "by user"),
    ]
    await database.write(cross_signing.store_signatures, ALICE, signatures, ["PHONE", CROSS_SIGNING], 1)

    async def seen_by(reader: str) -> set[str]:
        found = await database.read(cross_signing.load_visible_signatures, [ALICE, BOB], reader)
        return {one.signature for some in found.values() for one in some}

    assert await seen_by(ALICE) == {"by phone", "by self", "by user"}
    assert await seen_by(BOB) == await seen_by(CAROL) == {"by phone", "by self"}
    new = {"self_signing": key("s2"), "master": keys["master"]}
    await database.write(cross_signing.store_cross_signing_keys, ALICE, new, ["user_signing"], 1)
    found = (await database.read(cross_signing.load_cross_signing_keys, [ALICE]))[ALICE]
    assert {usage: one.public_key for usage, one in found.items()} == {"master": "m1", "self_signing": "s2"}
    assert await seen_by(ALICE) == {"by phone"}
    await database.write(cross_signing.delete_cross_signing_of, ALICE)
    assert await seen_by(ALICE) == set()
    assert await database.read(cross_signing.load_cross_signing_keys, [ALICE]) == {}


async def test_signing_another_user_is_news_for_the_signer_alone(database: Database, changes: list[Change]) -> None:
    await put_in_room(database, 1, ALICE, BOB)
    signature = KeySignature(BOB, "master", ALICE, "ed25519:u", "s")
    await database.write(cross_signing.store_signatures, ALICE, [signature], [], 1)
    [change] = changes
    assert change.user_ids == (ALICE,)
    span = (change.position - 1, change.position)
    assert await database.read(device_lists.load_changed_users, ALICE, *span) == {BOB}
    assert await database.read(device_lists.load_changed_users, BOB, *span) == set()
    assert await database.read(device_lists.load_changes, *span) == [change]


async def test_messages_wait_for_known_devices(database: Database, changes: list[Change]) -> None:
    await add_device(database, ALICE, "PHONE")
    await add_device(database, ALICE, "TABLET")
    await add_device(database, BOB, "LAPTOP")
    changes.clear()
    messages = [
        NewMessage(ALICE, "PHONE", b"1"),
        NewMessage(ALICE, "*", b"2"),
        NewMessage(BOB, "GONE", b"3"),
        NewMessage("@nobody:example.org", "*", b"4"),
    ]
    assert await database.write(to_device.store_messages, messages, 5) == 2
    [change] = changes
    assert (change.subject, change.user_ids) == ("to_device", (ALICE,))
    assert await database.read(to_device.load_changes, change.position - 2, change.position) == [change]
    phone = await database.read(to_device.load_waiting, ALICE, "PHONE", 0, 10)
    tablet = await database.read(to_device.load_waiting, ALICE, "TABLET", 0, 10)
    assert ([text for _, text in phone.messages], [text for _, text in tablet.messages]) == ([b"1"], [b"2"])
    position = phone.messages[0][0]
    assert await database.read(to_device.load_waiting, ALICE, "PHONE", position, 10) == (True, [])
    await database.write(to_device.delete_delivered, ALICE, "PHONE", position)
    assert await database.read(to_device.load_waiting, ALICE, "PHONE", 0, 10) == (False, [])
    assert await database.read(to_device.load_waiting, BOB, "LAPTOP", 0, 10) == (False, [])


async def test_messages_are_bounded_by_number_and_age(database: Database) -> None:
    await add_device(database, ALICE, "PHONE")
    await add_device(database, ALICE, "TABLET")
    for number in range(6):
        messages = [NewMessage(ALICE, "PHONE", b"%d" % number)]
        await database.write(lambda tx, some, ms: to_device.store_messages(tx, some, ms, most=4), messages, number)

    async def waiting() -> list[bytes]:
        found = await database.read(to_device.load_waiting, ALICE, "PHONE", 0, 10)
        return [text for _, text in found.messages]

    assert await waiting() == [b"2", b"3", b"4", b"5"]
    assert await database.write(to_device.delete_stale_messages, 5, 2) == 2
    assert await waiting() == [b"4", b"5"]
    assert await database.write(to_device.delete_stale_messages, 5, 2) == 1


async def test_transaction_ids_are_forgotten(database: Database) -> None:
    sent = SentUnder(ALICE, "PHONE", "m.type", "1")
    assert await database.write(to_device.take_transaction, sent, 10)
    assert not await database.write(to_device.take_transaction, sent, 11)
    assert await database.write(to_device.take_transaction, sent._replace(event_type="m.other"), 12)
    assert await database.write(to_device.delete_old_transactions, 11) == 1
    assert await database.write(to_device.take_transaction, sent, 13)


def room_key(room: str, session: str, index: int, forwarded: int, verified: bool, data: bytes = b"{}") -> BackedUpKey:
    return BackedUpKey(room, session, index, forwarded, verified, data)


async def store(database: Database, *keys: BackedUpKey) -> Backup:
    backup = await database.read(key_backups.find_current_backup, ALICE)
    assert backup is not None
    return await database.write(key_backups.store_keys, ALICE, backup, keys)


BETTER_FIRST = [
    room_key("!a:x", "s", 9, 9, True),
    room_key("!a:x", "s", 1, 5, False),
    room_key("!a:x", "s", 2, 1, False),
    room_key("!a:x", "s", 2, 2, False),
]


@pytest.mark.parametrize("number", range(3))
async def test_the_better_room_key_stays(database: Database, number: int) -> None:
    better, worse = BETTER_FIRST[number], BETTER_FIRST[number + 1]
    assert await database.write(key_backups.create_backup, ALICE, "algorithm", b"{}") == 1
    assert (await store(database, worse))[3:] == (1, 1)
    assert (await store(database, better))[3:] == (2, 1)
    assert (await store(database, worse, better))[3:] == (2, 1)
    assert await database.read(key_backups.load_keys, ALICE, 1) == [better]


async def test_backups_by_version_room_and_session(database: Database) -> None:
    for _ in range(2):
        await database.write(key_backups.create_backup, ALICE, "algorithm", b'{"n":1}')
    keys = [room_key("!a:x", "1", 0, 0, False), room_key("!a:x", "2", 0, 0, False), room_key("!b:x", "1", 0, 0, False)]
    assert await store(database, *keys) == Backup(2, "algorithm", b'{"n":1}', 1, 3)
    assert await database.read(key_backups.load_keys, ALICE, 1) == []
    assert sorted(await database.read(key_backups.load_keys, ALICE, 2)) == keys
    assert sorted(await database.read(key_backups.load_keys, ALICE, 2, "!a:x")) == keys[:2]
    assert await database.read(key_backups.load_keys, ALICE, 2, "!a:x", "2") == [keys[1]]
    backup = await database.write(key_backups.lock_backup, ALICE, 2)
    assert backup is not None
    backup = await database.write(key_backups.delete_keys, ALICE, backup, "!a:x", "2")
    assert backup[3:] == (2, 2)
    backup = await database.write(key_backups.delete_keys, ALICE, backup, "!a:x", "2")
    assert backup[3:] == (2, 2)
    backup = await database.write(key_backups.delete_keys, ALICE, backup)
    assert backup[3:] == (3, 0)
    assert await database.read(key_backups.find_backup, ALICE, 2) == backup


async def test_version_numbers_are_not_given_twice(database: Database) -> None:
    assert await database.write(key_backups.create_backup, ALICE, "a", b"{}") == 1
    await store(database, room_key("!a:x", "s", 0, 0, True))
    await database.write(key_backups.delete_backup, ALICE, 1)
    assert await database.read(key_backups.find_current_backup, ALICE) is None
    assert await database.read(key_backups.load_keys, ALICE, 1) == []
    assert await database.read(key_backups.load_newest_version, ALICE) == 1
    assert await database.write(key_backups.create_backup, ALICE, "a", b"{}") == 2
    assert await database.write(key_backups.create_backup, BOB, "a", b"{}") == 1
    await database.write(key_backups.delete_backups_of, ALICE)
    assert await database.read(key_backups.find_current_backup, ALICE) is None
    assert await database.read(key_backups.find_current_backup, BOB) is not None
