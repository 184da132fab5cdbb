"""`/profile`: fields of one's own, everybody's to read."""

from __future__ import annotations

from typing import Any

import pytest
from accounts_app import V3, AccountsApp

ALICE = f"{V3}/profile/@alice:example.org"


async def test_name_and_avatar(app: AccountsApp) -> None:
    alice = await app.user("alice")
    assert (await alice.put(f"{ALICE}/displayname", {"displayname": "Alice ♥"})).json == {}
    assert (await alice.put(f"{ALICE}/avatar_url", {"avatar_url": "mxc://example.org/a"})).json == {}
    assert (await app.client.get(ALICE)).json == {"displayname": "Alice ♥", "avatar_url": "mxc://example.org/a"}
    assert (await app.client.get(f"{ALICE}/displayname")).json == {"displayname": "Alice ♥"}
    assert [profile.as_json() for _, profile in app.rooms.profiles] == [
        {"displayname": "Alice ♥"},
        {"displayname": "Alice ♥", "avatar_url": "mxc://example.org/a"},
    ]
    await alice.put(f"{ALICE}/avatar_url", {"avatar_url": ""})
    assert (await app.client.get(f"{ALICE}/avatar_url")).json["errcode"] == "M_NOT_FOUND"
    await alice.delete(f"{ALICE}/displayname")
    assert (await app.client.get(ALICE)).json == {}


async def test_setting_the_same_again_tells_nobody(app: AccountsApp) -> None:
    alice = await app.user("alice")
    await alice.put(f"{ALICE}/displayname", {"displayname": "alice"})
    assert app.rooms.profiles == []


async def test_any_field(app: AccountsApp) -> None:
    alice = await app.user("alice")
    for key, value in (
        ("m.tz", "Europe/London"),
        ("org.example.pets", [{"name": "Rex"}]),
        ("org.example.nothing", None),
    ):
        assert (await alice.put(f"{ALICE}/{key}", {key: value})).status == 200
        assert (await app.client.get(f"{ALICE}/{key}")).json == {key: value}
    assert app.rooms.profiles == []
    assert (await app.client.get(ALICE)).json.keys() == {
        "displayname",
        "m.tz",
        "org.example.pets",
        "org.example.nothing",
    }
    unstable = ALICE.replace("/v3/", "/unstable/uk.tcpip.msc4133/")
    assert (await alice.delete(f"{unstable}/m.tz")).json == {}
    assert (await app.client.get(f"{ALICE}/m.tz")).status == 404
    assert (await alice.delete(f"{ALICE}/m.tz")).json == {}


@pytest.mark.parametrize(
    ("key", "body", "status", "errcode"),
    [
        ("displayname", {}, 400, "M_MISSING_PARAM"),
        ("displayname", {"displayname": 5}, 400, "M_BAD_JSON"),
        ("displayname", {"displayname": "x" * 257}, 400, "M_INVALID_PARAM"),
        ("avatar_url", {"avatar_url": "https://example.org/a.png"}, 400, "M_INVALID_PARAM"),
        ("Org.Example", {"Org.Example": 1}, 400, "M_INVALID_PARAM"),
        ("o" * 256, {"o" * 256: 1}, 400, "M_KEY_TOO_LARGE"),
        ("org.example", {"org.example": "x" * 65536}, 400, "M_PROFILE_TOO_LARGE"),
    ],
)
async def test_refusals(app: AccountsApp, key: str, body: dict[str, Any], status: int, errcode: str) -> None:
    alice = await app.user("alice")
    answer = await alice.put(f"{ALICE}/{key}", body)
    assert (answer.status, answer.json["errcode"]) == (status, errcode)
    assert (await app.client.get(ALICE)).json == {"displayname": "alice"}


async def test_only_ones_own(app: AccountsApp) -> None:
    await app.user("alice")
    bob = await app.user("bob")
    for answer in (
        await bob.put(f"{ALICE}/displayname", {"displayname": "Bob"}),
        await bob.delete(f"{ALICE}/displayname"),
    ):
        assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")


@pytest.mark.parametrize("user_id", ["@nobody:example.org", "@alice:elsewhere.org"])
async def test_unknown_users(app: AccountsApp, user_id: str) -> None:
    answer = await app.client.get(f"{V3}/profile/{user_id}")
    assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")
    assert (await app.client.get(f"{V3}/profile/{user_id}/displayname")).status == 404


async def test_what_is_no_user(app: AccountsApp) -> None:
    assert (await app.client.get(f"{V3}/profile/alice")).json["errcode"] == "M_INVALID_PARAM"
