"""Account data, tags and filters."""

from __future__ import annotations

from typing import Any

import pytest
from accounts_app import V3, AccountsApp

from homeserver.storage import account_data as rows
from homeserver.storage.database import load_position
from homeserver.testing import path_of

ALICE = "@alice:example.org"
USER = f"{V3}/user/{ALICE}"
ROOM_ID = "!room:example.org"
ROOM = f"{USER}/rooms/{ROOM_ID}"
UNSTABLE = USER.replace("/v3/", "/unstable/org.matrix.msc3391/")


async def test_global_account_data(app: AccountsApp) -> None:
    alice = await app.user("alice")
    assert (await alice.get(f"{USER}/account_data/org.example")).json["errcode"] == "M_NOT_FOUND"
    assert (await alice.put(f"{USER}/account_data/org.example", {"a": [1, "ü"]})).json == {}
    assert (await alice.get(f"{USER}/account_data/org.example")).json == {"a": [1, "ü"]}
    change = app.changes[-1]
    assert (change.subject, change.user_ids, change.room_id) == ("account_data", (ALICE,), None)


async def test_account_data_after_a_position(app: AccountsApp) -> None:
    alice = await app.user("alice")
    await alice.put(f"{USER}/account_data/a", {"n": 1})
    after = await app.database.read(load_position)
    await alice.put(f"{USER}/account_data/b", {"n": 2})
    await alice.put(f"{ROOM}/account_data/c", {"n": 3})
    assert await app.database.read(rows.load_global, ALICE, after) == [("b", b'{"n":2}')]
    assert await app.database.read(rows.load_room, ALICE, after) == [(ROOM_ID, "c", b'{"n":3}')]
    await alice.put(f"{USER}/account_data/a", {"n": 4})
    assert await app.database.read(rows.load_global, ALICE, 0) == [("b", b'{"n":2}'), ("a", b'{"n":4}')]


async def test_deleted_account_data(app: AccountsApp) -> None:
    alice = await app.user("alice")
    await alice.put(f"{USER}/account_data/a", {"n": 1})
    await alice.put(f"{ROOM}/account_data/a", {"n": 1})
    after = await app.database.read(load_position)
    for path in (UNSTABLE, f"{UNSTABLE}/rooms/{ROOM_ID}"):
        assert (await alice.delete(f"{path}/account_data/a")).json == {}
    assert (await alice.get(f"{USER}/account_data/a")).status == 404
    assert (await alice.get(f"{ROOM}/account_data/a")).status == 404
    assert await app.database.read(rows.load_global, ALICE, after) == [("a", b"{}")]
    assert await app.database.read(rows.load_room, ALICE, after) == [(ROOM_ID, "a", b"{}")]
    assert await app.database.read(rows.load_global, ALICE, 0) == []
    position = await app.database.read(load_position)
    await app.database.write(rows.delete_tombstones, position + 1)
    assert await app.database.read(rows.load_global, ALICE, after) == []


@pytest.mark.parametrize("kind", ["m.fully_read", "m.push_rules"])
async def test_what_the_server_manages(app: AccountsApp, kind: str) -> None:
    alice = await app.user("alice")
    for path in (USER, ROOM):
        refused = await alice.put(f"{path}/account_data/{kind}", {})
        assert (refused.status, refused.json["errcode"]) == (405, "M_BAD_JSON")


async def test_push_rules_can_be_read_as_account_data(app: AccountsApp) -> None:
    alice = await app.user("alice")
    shown = (await alice.get(f"{USER}/account_data/m.push_rules")).json
    assert shown["global"] == (await alice.get(f"{V3}/pushrules/global/")).json


@pytest.mark.parametrize(
    ("body", "errcode"), [(b"[]", "M_BAD_JSON"), (b"", "M_NOT_JSON"), (b"{", "M_NOT_JSON"), (b'"a"', "M_BAD_JSON")]
)
async def test_only_objects(app: AccountsApp, body: bytes, errcode: str) -> None:
    alice = await app.user("alice")
    refused = await alice.request("PUT", f"{USER}/account_data/a", body=body)
    assert (refused.status, refused.json["errcode"]) == (400, errcode)


async def test_only_ones_own(app: AccountsApp) -> None:
    await app.user("alice")
    bob = await app.user("bob")
    for path in (f"{USER}/account_data/a", f"{ROOM}/account_data/a", f"{ROOM}/tags", f"{USER}/filter/a"):
        refused = await bob.get(path)
        assert (refused.status, refused.json["errcode"]) == (403, "M_FORBIDDEN")
    assert (await bob.put(f"{USER}/account_data/a", {})).status == 403
    assert (await bob.put(f"{ROOM}/tags/u.a", {})).status == 403


async def test_room_ids_are_checked(app: AccountsApp) -> None:
    alice = await app.user("alice")
    for kind in ("account_data/a", "tags/u.a"):
        refused = await alice.put(f"{USER}/rooms/kitchen/{kind}", {})
        assert (refused.status, refused.json["errcode"]) == (400, "M_INVALID_PARAM")


async def test_tags(app: AccountsApp) -> None:
    alice = await app.user("alice")
    assert (await alice.get(f"{ROOM}/tags")).json == {"tags": {}}
    assert (await alice.put(f"{ROOM}/tags/m.favourite", {"order": 0.1})).json == {}
    assert (await alice.put(ROOM + "/tags" + path_of("u.Wörk/Home"), {})).json == {}
    tags = {"m.favourite": {"order": 0.1}, "u.Wörk/Home": {}}
    assert (await alice.get(f"{ROOM}/tags")).json == {"tags": tags}
    assert (await alice.get(f"{ROOM}/account_data/m.tag")).json == {"tags": tags}
    assert (await alice.delete(f"{ROOM}/tags/m.favourite")).json == {}
    position = app.changes[-1].position
    assert (await alice.delete(f"{ROOM}/tags/m.favourite")).json == {}
    assert app.changes[-1].position == position
    assert (await alice.get(f"{ROOM}/tags")).json == {"tags": {"u.Wörk/Home": {}}}


@pytest.mark.parametrize(
    ("tag", "body", "errcode"), [("u." + "x" * 254, {}, "M_INVALID_PARAM"), ("u.a", {"order": "first"}, "M_BAD_JSON")]
)
async def test_impossible_tags(app: AccountsApp, tag: str, body: dict[str, Any], errcode: str) -> None:
    alice = await app.user("alice")
    refused = await alice.put(f"{ROOM}/tags/{tag}", body)
    assert (refused.status, refused.json["errcode"]) == (400, errcode)


async def test_ignored_users(app: AccountsApp) -> None:
    alice = await app.user("alice")
    assert await app.account_data.ignored_users(ALICE) == frozenset()
    ignored: dict[str, Any] = {"ignored_users": {"@bob:example.org": {}, ALICE: {}}}
    await alice.put(f"{USER}/account_data/m.ignored_user_list", ignored)
    assert await app.account_data.ignored_users(ALICE) == {"@bob:example.org"}


async def test_filters(app: AccountsApp) -> None:
    alice = await app.user("alice")
    definition = {"room": {"timeline": {"limit": 7}}, "org.example.unknown": True}
    filter_id = (await alice.post(f"{USER}/filter", definition)).json["filter_id"]
    assert not filter_id.startswith("{")
    assert (await alice.post(f"{USER}/filter", definition)).json["filter_id"] == filter_id
    assert (await alice.get(f"{USER}/filter/{filter_id}")).json == definition
    assert (await app.filters.get(ALICE, filter_id)).room.timeline.limit == 7
    assert (await app.filters.get_or_parse(ALICE, '{"room": {"timeline": {"limit": 3}}}')).room.timeline.limit == 3
    unknown = await alice.get(f"{USER}/filter/other")
    assert (unknown.status, unknown.json["errcode"]) == (404, "M_NOT_FOUND")
    bad = await alice.post(f"{USER}/filter", {"room": {"timeline": {"limit": "many"}}})
    assert (bad.status, bad.json["errcode"]) == (400, "M_BAD_JSON")


async def test_unused_filters_are_forgotten(app: AccountsApp) -> None:
    alice = await app.user("alice", device_id="PHONE")
    filter_id = (await alice.post(f"{USER}/filter", {})).json["filter_id"]
    await app.clock.advance(366 * 86_400)
    await app.retention.run()
    assert (await alice.get(f"{USER}/filter/{filter_id}")).status == 404
