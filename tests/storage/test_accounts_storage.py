"""The repositories of accounts, sessions and user data, on SQLite and on PostgreSQL."""

from __future__ import annotations

from homeserver.storage import (
    access_tokens,
    account_data,
    accounts,
    devices,
    filters,
    login_tokens,
    profiles,
    push_rules,
    registration_tokens,
    ui_auth,
)
from homeserver.storage.access_tokens import TokenPair
from homeserver.storage.accounts import User
from homeserver.storage.database import Database, Transaction
from homeserver.storage.devices import Device, LastSeen
from homeserver.storage.profiles import Profile
from homeserver.storage.ui_auth import UiAuthSession

ALICE, BOB = "@alice:example.org", "@bob:example.org"


def device(name: str, seen_ms: int | None = None) -> Device:
    return Device(name, None, 1, seen_ms, None, None)


async def test_accounts(database: Database) -> None:
    alice = User(ALICE, "user", 5, password_hash="hash", consent_version="1")
    assert await database.write(accounts.create_user, alice)
    assert not await database.write(accounts.create_user, User(ALICE, "bot", 6))
    assert await database.read(accounts.find_user, ALICE) == alice
    await database.write(accounts.replace_password_hash, ALICE, "other", "newer")
    await database.write(accounts.set_locked, ALICE, True)
    await database.write(accounts.create_user, User(BOB, "user", 7))
    assert [user.user_id for user in await database.read(accounts.load_users, "", 10)] == [ALICE, BOB]
    assert [user.user_id for user in await database.read(accounts.load_users, ALICE, 10)] == [BOB]
    assert await database.read(accounts.count_users) == 2
    assert await database.write(accounts.deactivate, ALICE, True)
    assert not await database.write(accounts.deactivate, ALICE, False)
    closed = await database.read(accounts.find_user, ALICE)
    assert closed is not None
    assert (closed.deactivated, closed.erased, closed.locked, closed.password_hash) == (True, True, True, None)
    assert await database.read(accounts.load_leaving) == [ALICE]
    await database.write(accounts.finish_departure, ALICE)
    assert await database.read(accounts.load_leaving) == []
    assert await database.write(accounts.reactivate, ALICE, "hash")
    assert not await database.write(accounts.set_admin, "@nobody:example.org", True)


async def test_idle_guests(database: Database) -> None:
    for name in ("@old:x", "@seen:x"):
        await database.write(accounts.create_user, User(name, "guest", 5))
    await database.write(devices.create_device, "@seen:x", device("D", 100), [])
    assert await database.read(accounts.load_idle_guests, 50, 10) == ["@old:x"]
    assert await database.write(accounts.upgrade_guest, "@old:x", "hash")
    assert await database.read(accounts.load_idle_guests, 500, 10) == ["@seen:x"]


async def test_devices(database: Database) -> None:
    assert await database.write(devices.create_device, ALICE, device("A", 1), [])
    assert not await database.write(devices.create_device, ALICE, device("A", 2), [])
    await database.write(devices.create_device, ALICE, device("B", 5), [])
    await database.write(devices.create_device, BOB, device("A", 9), [])
    seen = [LastSeen(ALICE, "B", 7, "192.0.2.1", "Test"), LastSeen(ALICE, "gone", 7, "192.0.2.1", "Test")]
    await database.write(devices.record_seen, seen)
    assert await database.read(devices.find_device, ALICE, "B") == Device("B", None, 1, 7, "192.0.2.1", "Test")
    assert await database.read(devices.load_stale, 8, 10) == [(ALICE, "A"), (ALICE, "B")]
    assert await database.write(devices.delete_devices, ALICE, ["A", "gone"], []) == ["A"]
    assert await database.read(devices.load_device_ids, ALICE) == ["B"]
    assert await database.read(devices.load_device_ids, BOB) == ["A"]


async def test_tokens_end_with_their_devices(database: Database) -> None:
    await database.write(accounts.create_user, User(ALICE, "user", 5))
    for number, name in enumerate(("A", "B", None)):
        pair = TokenPair(bytes([number]), None, bytes([100 + number]) if name else None)
        if name is not None:
            await database.write(devices.create_device, ALICE, device(name), [])
        await database.write(access_tokens.create_tokens, ALICE, name, pair, 1)
    found = await database.read(access_tokens.find_session, bytes([0]))
    assert found is not None
    assert (found.user_id, found.device_id, found.kind, found.used) == (ALICE, "A", "user", False)
    assert await database.write(devices.delete_all_devices, ALICE, [], keep="B") == ["A"]
    left = [await database.read(access_tokens.find_session, bytes([number])) is not None for number in range(3)]
    assert left == [False, True, False]
    rotated = await database.write(access_tokens.rotate, bytes([100]), TokenPair(b"x", None, b"y"), 2)
    assert rotated.refused == "unknown"


async def test_rotation_and_retention(database: Database) -> None:
    await database.write(accounts.create_user, User(ALICE, "user", 5))
    await database.write(access_tokens.create_tokens, ALICE, "A", TokenPair(b"a1", 100, b"r1", 50), 1)
    rotation = await database.write(access_tokens.rotate, b"r1", TokenPair(b"a2", 200, b"r2", None), 10)
    assert (rotation.user_id, rotation.device_id, rotation.refused) == (ALICE, "A", None)
    again = await database.write(access_tokens.rotate, b"r2", TokenPair(b"a3", 300, b"r3", 20), 11)
    assert again.refused is None
    replaced = await database.write(access_tokens.rotate, b"r1", TokenPair(b"a4", 300, b"r4", None), 12)
    assert replaced.refused == "replaced"
    expired = await database.write(access_tokens.rotate, b"r3", TokenPair(b"a5", 300, b"r5", None), 20)
    assert expired.refused == "expired"
    session = await database.read(access_tokens.find_session, b"a3")
    assert session is not None
    await database.write(access_tokens.mark_used, session.token_nid, 15)
    second = await database.read(access_tokens.find_session, b"a2")
    assert second is not None
    assert second.expires_ms == 15
    assert await database.write(access_tokens.delete_old, 15) == 2  # a1 and r1, replaced at 11
    assert await database.write(access_tokens.delete_old, 16) == 2  # a2 and r2, replaced at 15
    assert await database.read(access_tokens.find_session, b"a3") is not None


async def test_login_tokens(database: Database) -> None:
    for name in (b"a", b"b", b"c"):
        await database.write(login_tokens.create_login_token, name, ALICE, 10)
    assert await database.write(login_tokens.take_login_token, b"a", 9) == ALICE
    assert await database.write(login_tokens.take_login_token, b"a", 9) is None
    assert await database.write(login_tokens.take_login_token, b"b", 10) is None
    assert await database.write(login_tokens.delete_expired, 9) == 0
    assert await database.write(login_tokens.delete_expired, 10) == 1


async def test_registration_tokens(database: Database) -> None:
    assert await database.write(registration_tokens.create_token, "two", 2, 100, 1)
    assert not await database.write(registration_tokens.create_token, "two", 1, None, 1)
    assert await database.write(registration_tokens.reserve_use, "two", 99)
    assert await database.write(registration_tokens.reserve_use, "two", 99)
    assert not await database.write(registration_tokens.reserve_use, "two", 99)
    await database.write(registration_tokens.complete_use, "two")
    await database.write(registration_tokens.release_use, "two")
    found = await database.read(registration_tokens.find_token, "two")
    assert found is not None
    assert (found.pending, found.completed, found.is_valid(99), found.is_valid(100)) == (0, 1, True, False)
    assert not await database.write(registration_tokens.reserve_use, "two", 100)
    assert await database.write(registration_tokens.change_token, "two", None, None)
    assert await database.write(registration_tokens.reserve_use, "two", 1000)
    assert [token.token for token in await database.read(registration_tokens.load_tokens)] == ["two"]
    assert await database.write(registration_tokens.delete_token, "two")


async def test_auth_sessions(database: Database) -> None:
    session = UiAuthSession("s", "operation", ALICE, {"a": 1}, {}, 100)
    await database.write(ui_auth.create_session, session)
    assert await database.read(ui_auth.find_session, "s") == session
    await database.write(ui_auth.set_body, "s", {"b": 2})
    await database.write(ui_auth.set_completed, "s", {"stage": True})
    assert await database.write(ui_auth.lock_completed, "s") == {"stage": True}
    assert await database.write(ui_auth.take_expired, 99) == []
    assert await database.write(ui_auth.take_expired, 100) == [{"stage": True}]
    assert await database.write(ui_auth.take_session, "s") is None


async def test_profiles_and_their_positions(database: Database) -> None:
    await database.write(profiles.store_profile, ALICE, Profile("Alice", None, {"m.tz": "Europe/London"}))
    await database.write(profiles.store_profile, BOB, Profile())
    assert await database.read(profiles.load_profiles, [ALICE, "@nobody:x"]) == {
        ALICE: Profile("Alice", None, {"m.tz": "Europe/London"})
    }
    assert await database.read(profiles.load_changed, 1, 2) == [BOB]


async def test_account_data_by_room(database: Database) -> None:
    def store(tx: Transaction) -> list[int]:
        return [
            account_data.store_in_room(tx, ALICE, "!a:x", "k", b'{"n":1}'),
            account_data.store_in_room(tx, ALICE, "!b:x", "k", b'{"n":2}'),
            account_data.store_global(tx, ALICE, "k", b'{"n":3}'),
        ]

    assert await database.write(store) == [1, 2, 3]
    assert await database.read(account_data.load_of_room, ALICE, "!a:x") == [("k", b'{"n":1}')]
    assert await database.read(account_data.load_room, ALICE, 1) == [("!b:x", "k", b'{"n":2}')]
    assert await database.read(account_data.load_global, ALICE, 0) == [("k", b'{"n":3}')]
    assert await database.read(account_data.find_in_room, BOB, "!a:x", "k") is None
    await database.write(account_data.delete_for_room, "!a:x")
    assert await database.read(account_data.find_in_room, ALICE, "!a:x", "k") is None
    await database.write(account_data.delete_for_user, ALICE)
    assert await database.read(account_data.load_room, ALICE, 0) == []


async def test_filters_make_room_for_each_other(database: Database) -> None:
    for number, name in enumerate(("a", "b", "a", "c")):
        await database.write(filters.store_filter, ALICE, name, b"{}", number, 2)
    found = [name for name in "abc" if await database.read(filters.find_filter, ALICE, name) is not None]
    assert found == ["a", "c"]
    await database.write(filters.mark_used, ALICE, "a", 10)
    assert await database.write(filters.delete_unused, 10) == 1


async def test_push_rules(database: Database) -> None:
    assert await database.read(push_rules.find_ruleset, ALICE) is None
    assert await database.write(push_rules.store_ruleset, ALICE, b"{}") == 1
    assert await database.write(push_rules.store_ruleset, ALICE, b'{"a":[]}') == 2
    assert await database.write(push_rules.lock_ruleset, ALICE) == b'{"a":[]}'
    assert await database.read(push_rules.changed_after, ALICE, 1)
    assert not await database.read(push_rules.changed_after, ALICE, 2)
    await database.write(push_rules.delete_for_user, ALICE)
    assert await database.read(push_rules.find_ruleset, ALICE) is None
