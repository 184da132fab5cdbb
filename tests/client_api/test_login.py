"""`POST /login`: identifiers, refusals, devices, login tokens, refresh tokens, and logging out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from accounts_app import PASSWORD, V3, AccountsApp, password_of, running_app

LOGIN = f"{V3}/login"


def body(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "m.login.password", **password_of(name), **more}


async def test_flows(app: AccountsApp) -> None:
    flows = (await app.client.get(LOGIN)).json["flows"]
    assert flows == [{"type": "m.login.password"}, {"type": "m.login.token", "get_login_token": True}]


@pytest.mark.parametrize("name", ["alice", "@alice:example.org", "Alice", "@Alice:example.org"])
async def test_password_login(app: AccountsApp, name: str) -> None:
    await app.user("alice")
    answer = await app.client.post(LOGIN, body(name, initial_device_display_name="Phone"))
    assert answer.status == 200
    assert answer.json["user_id"] == "@alice:example.org"
    assert answer.json["well_known"] == {"m.homeserver": {"base_url": "https://matrix.example.org"}}
    assert not {"refresh_token", "expires_in_ms"} & answer.json.keys()
    client = app.client.with_token(answer.json["access_token"])
    whoami = await client.get(f"{V3}/account/whoami")
    assert whoami.json == {
        "user_id": "@alice:example.org",
        "device_id": answer.json["device_id"],
        "is_guest": False,
    }
    device = await client.get(f"{V3}/devices/{answer.json['device_id']}")
    assert device.json["display_name"] == "Phone"


async def test_deprecated_user_key(app: AccountsApp) -> None:
    await app.user("alice")
    answer = await app.client.post(LOGIN, {"type": "m.login.password", "user": "alice", "password": PASSWORD})
    assert answer.status == 200


@pytest.mark.parametrize(
    ("change", "status", "errcode"),
    [
        ({"password": "wrong horse"}, 403, "M_FORBIDDEN"),
        ({"identifier": {"type": "m.id.user", "user": "nobody"}}, 403, "M_FORBIDDEN"),
        ({"identifier": {"type": "m.id.user", "user": "@alice:elsewhere.org"}}, 403, "M_FORBIDDEN"),
        ({"identifier": {"type": "m.id.thirdparty", "medium": "email", "address": "a@b.c"}}, 403, "M_FORBIDDEN"),
        ({"identifier": {"type": "m.id.phone", "country": "GB", "phone": "1"}}, 403, "M_FORBIDDEN"),
        ({"identifier": {"type": "m.id.horoscope"}}, 400, "M_UNKNOWN"),
        ({"identifier": {"type": "m.id.user"}}, 400, "M_MISSING_PARAM"),
        ({"identifier": "alice"}, 400, "M_BAD_JSON"),
        ({"identifier": None}, 400, "M_MISSING_PARAM"),
        ({"password": None}, 400, "M_MISSING_PARAM"),
        ({"password": 7}, 400, "M_BAD_JSON"),
        ({"type": "m.login.horoscope"}, 400, "M_UNKNOWN"),
        ({"type": 5}, 400, "M_BAD_JSON"),
        ({"device_id": "x" * 256}, 400, "M_INVALID_PARAM"),
    ],
)
async def test_refusals(app: AccountsApp, change: dict[str, Any], status: int, errcode: str) -> None:
    await app.user("alice")
    answer = await app.client.post(LOGIN, {**body("alice"), **change})
    assert (answer.status, answer.json["errcode"]) == (status, errcode)


async def test_the_same_device_again_ends_its_old_token(app: AccountsApp) -> None:
    old = await app.user("alice", device_id="PHONE")
    answer = await app.client.post(LOGIN, body("alice", device_id="PHONE", initial_device_display_name="Other"))
    assert answer.json["device_id"] == "PHONE"
    assert (await old.get(f"{V3}/account/whoami")).json["errcode"] == "M_UNKNOWN_TOKEN"
    devices = await app.devices.list_of("@alice:example.org")
    assert [(device.device_id, device.display_name) for device in devices] == [("PHONE", None)]


async def test_too_many_failures_are_limited_by_account_and_by_address(tmp_path: Path) -> None:
    limits = {"enabled": True, "login_failed": {"per_second": 0.1, "burst": 2}}
    async with running_app(tmp_path, rate_limits=limits) as app:
        await app.user("alice")
        await app.user("bob")
        for _ in range(2):
            assert (await app.client.post(LOGIN, {**body("alice"), "password": "wrong"})).status == 403
        limited = await app.client.post(LOGIN, body("alice"))
        assert (limited.status, limited.json["errcode"]) == (429, "M_LIMIT_EXCEEDED")
        assert limited.json["retry_after_ms"] == 10_000
        assert limited.headers["retry-after"] == "10"
        assert (await app.client.post(LOGIN, body("bob"))).status == 429  # the same address
        await app.clock.advance(11)
        assert (await app.client.post(LOGIN, body("alice"))).status == 200


async def test_login_token(app: AccountsApp) -> None:
    alice = await app.user("alice")
    answer = await app.confirmed(alice, "POST", "/_matrix/client/v1/login/get_token", "alice", {})
    assert answer.status == 200
    assert answer.json["expires_in_ms"] == 120_000
    login = {"type": "m.login.token", "token": answer.json["login_token"]}
    assert (await app.client.post(LOGIN, login)).json["user_id"] == "@alice:example.org"
    again = await app.client.post(LOGIN, login)
    assert (again.status, again.json["errcode"]) == (403, "M_FORBIDDEN")


async def test_login_token_expires(app: AccountsApp) -> None:
    await app.user("alice")
    token = await app.login_tokens.issue("@alice:example.org")
    await app.clock.advance(120)
    assert (await app.client.post(LOGIN, {"type": "m.login.token", "token": token})).status == 403


async def test_login_tokens_can_be_off(tmp_path: Path) -> None:
    async with running_app(tmp_path, sessions={"login_tokens": False}) as app:
        alice = await app.user("alice")
        answer = await alice.post("/_matrix/client/v1/login/get_token", {})
        assert (answer.status, answer.json["errcode"]) == (404, "M_UNRECOGNIZED")


async def test_refresh_rotates(app: AccountsApp) -> None:
    await app.user("alice")
    first = (await app.client.post(LOGIN, body("alice", refresh_token=True))).json
    assert first["expires_in_ms"] == 300_000
    second = (await app.client.post(f"{V3}/refresh", {"refresh_token": first["refresh_token"]})).json
    assert second["refresh_token"] != first["refresh_token"]
    # The answer may have been lost: the old token works until the new pair is used.
    third = (await app.client.post(f"{V3}/refresh", {"refresh_token": first["refresh_token"]})).json
    lost = await app.client.get(f"{V3}/account/whoami", token=second["access_token"])
    assert lost.json["errcode"] == "M_UNKNOWN_TOKEN"
    assert (await app.client.get(f"{V3}/account/whoami", token=first["access_token"])).status == 200
    assert (await app.client.get(f"{V3}/account/whoami", token=third["access_token"])).status == 200
    reused = await app.client.post(f"{V3}/refresh", {"refresh_token": first["refresh_token"]})
    assert (reused.status, reused.json["errcode"]) == (401, "M_UNKNOWN_TOKEN")
    replaced = await app.client.get(f"{V3}/account/whoami", token=first["access_token"])
    assert (replaced.status, replaced.json["soft_logout"]) == (401, True)
    assert (await app.client.post(f"{V3}/refresh", {"refresh_token": third["refresh_token"]})).status == 200


async def test_an_expired_access_token_is_a_soft_logout(app: AccountsApp) -> None:
    await app.user("alice")
    session = (await app.client.post(LOGIN, body("alice", refresh_token=True))).json
    whoami = f"{V3}/account/whoami"
    assert (await app.client.get(whoami, token=session["access_token"])).status == 200
    await app.clock.advance(300)
    for _ in range(2):  # from the cache, then from the database
        expired = await app.client.get(whoami, token=session["access_token"])
        assert (expired.status, expired.json["errcode"]) == (401, "M_UNKNOWN_TOKEN")
        assert expired.json["soft_logout"] is True
    renewed = (await app.client.post(f"{V3}/refresh", {"refresh_token": session["refresh_token"]})).json
    assert (await app.client.get(whoami, token=renewed["access_token"])).status == 200


async def test_unknown_tokens(app: AccountsApp) -> None:
    refused = await app.client.post(f"{V3}/refresh", {"refresh_token": "nonsense"})
    assert (refused.status, refused.json["errcode"]) == (401, "M_UNKNOWN_TOKEN")
    assert "soft_logout" not in refused.json
    refused = await app.client.get(f"{V3}/account/whoami", token="nonsense")
    assert (refused.status, refused.json["errcode"]) == (401, "M_UNKNOWN_TOKEN")
    missing = await app.client.get(f"{V3}/account/whoami")
    assert (missing.status, missing.json["errcode"]) == (401, "M_MISSING_TOKEN")


async def test_logout_ends_one_device(app: AccountsApp) -> None:
    phone, laptop = await app.user("alice", device_id="PHONE"), await app.user("alice", device_id="LAPTOP")
    assert (await phone.post(f"{V3}/logout")).json == {}
    assert (await phone.get(f"{V3}/account/whoami")).status == 401
    assert [one["device_id"] for one in (await laptop.get(f"{V3}/devices")).json["devices"]] == ["LAPTOP"]
    assert app.rows.deleted == [("@alice:example.org", ("PHONE",))]


async def test_logout_all(app: AccountsApp) -> None:
    phone, laptop = await app.user("alice"), await app.user("alice")
    bob = await app.user("bob")
    assert (await phone.get(f"{V3}/account/whoami")).status == 200
    assert (await laptop.post(f"{V3}/logout/all")).json == {}
    assert (await phone.get(f"{V3}/account/whoami")).status == 401
    assert (await bob.get(f"{V3}/account/whoami")).status == 200
    assert await app.devices.list_of("@alice:example.org") == []


async def test_a_locked_user_can_only_log_out(app: AccountsApp) -> None:
    alice, admin = await app.user("alice"), await app.user("root", admin=True)
    assert (await alice.get(f"{V3}/account/whoami")).status == 200
    lock = "/_matrix/client/v1/admin/lock/@alice:example.org"
    assert (await admin.put(lock, {"locked": True})).json == {"locked": True}
    for refused in (await alice.get(f"{V3}/account/whoami"), await app.client.post(LOGIN, body("alice"))):
        assert (refused.status, refused.json["errcode"]) == (401, "M_USER_LOCKED")
        assert refused.json["soft_logout"] is True
    assert (await admin.put(lock, {"locked": False})).json == {"locked": False}
    assert (await alice.get(f"{V3}/account/whoami")).status == 200
    await admin.put(lock, {"locked": True})
    assert (await alice.post(f"{V3}/logout")).json == {}


async def test_the_device_not_used_for_longest_makes_room(tmp_path: Path) -> None:
    async with running_app(tmp_path, sessions={"max_devices": 2}) as app:
        for name in ("A", "B", "C"):
            await app.user("alice", device_id=name)
            await app.clock.advance(1)
        assert [device.device_id for device in await app.devices.list_of("@alice:example.org")] == ["B", "C"]
