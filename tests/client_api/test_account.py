"""Changing the password, closing the account, devices, and the authentication in between."""

from __future__ import annotations

from pathlib import Path

from accounts_app import PASSWORD, V3, AccountsApp, password_of, running_app

from homeserver.storage import account_data, accounts

PASSWORD_PATH = f"{V3}/account/password"
NEW = "battery staple"
LOGIN = f"{V3}/login"


async def test_change_password(app: AccountsApp) -> None:
    phone, laptop = await app.user("alice", device_id="PHONE"), await app.user("alice")
    answer = await app.confirmed(phone, "POST", PASSWORD_PATH, "alice", {"new_password": NEW})
    assert (answer.status, answer.json) == (200, {})
    assert (await phone.get(f"{V3}/account/whoami")).status == 200
    assert (await laptop.get(f"{V3}/account/whoami")).status == 401
    old = {"type": "m.login.password", **password_of("alice")}
    assert (await app.client.post(LOGIN, old)).status == 403
    assert (await app.client.post(LOGIN, {**old, "password": NEW})).status == 200


async def test_change_password_and_keep_devices(app: AccountsApp) -> None:
    phone, laptop = await app.user("alice"), await app.user("alice")
    body = {"new_password": NEW, "logout_devices": False}
    assert (await app.confirmed(phone, "POST", PASSWORD_PATH, "alice", body)).status == 200
    assert (await laptop.get(f"{V3}/account/whoami")).status == 200


async def test_new_passwords_are_checked(app: AccountsApp) -> None:
    alice = await app.user("alice")
    assert (await alice.post(PASSWORD_PATH, {"new_password": "short"})).json["errcode"] == "M_WEAK_PASSWORD"
    assert (await alice.post(PASSWORD_PATH, {"new_password": 5})).json["errcode"] == "M_BAD_JSON"
    auth = {"type": "m.login.password", **password_of("alice")}
    assert (await alice.post(PASSWORD_PATH, {"auth": auth})).json["errcode"] == "M_MISSING_PARAM"


async def test_a_wrong_password_is_asked_for_again(app: AccountsApp) -> None:
    alice = await app.user("alice")
    first = (await alice.post(PASSWORD_PATH, {"new_password": NEW})).json
    assert first["flows"] == [{"stages": ["m.login.password"]}]
    assert "errcode" not in first
    auth = {"type": "m.login.password", **password_of("alice", "wrong"), "session": first["session"]}
    wrong = await alice.post(PASSWORD_PATH, {"new_password": NEW, "auth": auth})
    assert wrong.status == 401
    assert wrong.json["errcode"] == "M_FORBIDDEN"
    assert (wrong.json["flows"], wrong.json["session"]) == (first["flows"], first["session"])
    auth["password"] = PASSWORD
    assert (await alice.post(PASSWORD_PATH, {"new_password": NEW, "auth": auth})).status == 200


async def test_another_users_password_proves_nothing(app: AccountsApp) -> None:
    alice = await app.user("alice")
    await app.user("bob")
    answer = await app.confirmed(alice, "POST", PASSWORD_PATH, "bob", {"new_password": NEW})
    assert (answer.status, answer.json["errcode"]) == (401, "M_FORBIDDEN")


async def test_a_session_serves_its_own_request_only(app: AccountsApp) -> None:
    alice, bob = await app.user("alice"), await app.user("bob")
    session = (await alice.post(PASSWORD_PATH, {"new_password": NEW})).json["session"]
    auth = {"type": "m.login.password", **password_of("alice"), "session": session}
    other = await alice.post(f"{V3}/account/deactivate", {"auth": auth})
    assert (other.status, other.json["errcode"]) == (403, "M_FORBIDDEN")
    assert (await bob.post(PASSWORD_PATH, {"new_password": NEW, "auth": auth})).status == 403
    unknown = await alice.post(PASSWORD_PATH, {"new_password": NEW, "auth": {**auth, "session": "unknown"}})
    assert unknown.status == 401
    assert unknown.json["session"] != "unknown"
    assert (await alice.post(PASSWORD_PATH, {"new_password": NEW, "auth": auth})).status == 200
    assert (await alice.post(PASSWORD_PATH, {"new_password": NEW, "auth": auth})).status == 401


async def test_sessions_expire(app: AccountsApp) -> None:
    alice = await app.user("alice")
    session = (await alice.post(PASSWORD_PATH, {"new_password": NEW})).json["session"]
    await app.clock.advance(3600)
    auth = {"type": "m.login.password", **password_of("alice"), "session": session}
    late = await alice.post(PASSWORD_PATH, {"new_password": NEW, "auth": auth})
    assert late.status == 401
    assert late.json["session"] != session


async def test_an_account_without_a_password_cannot_confirm(app: AccountsApp) -> None:
    alice = await app.user("alice")
    await app.database.write(accounts.set_password_hash, "@alice:example.org", None)
    refused = await alice.post(f"{V3}/account/deactivate", {})
    assert (refused.status, refused.json["errcode"]) == (403, "M_FORBIDDEN")


async def test_deactivate(app: AccountsApp) -> None:
    alice = await app.user("alice")
    await alice.put(f"{V3}/user/@alice:example.org/account_data/org.example", {"a": 1})
    answer = await app.confirmed(alice, "POST", f"{V3}/account/deactivate", "alice", {"erase": True})
    assert answer.json == {"id_server_unbind_result": "success"}
    assert (await alice.get(f"{V3}/account/whoami")).status == 401
    login = await app.client.post(LOGIN, {"type": "m.login.password", **password_of("alice")})
    assert (login.status, login.json["errcode"]) == (403, "M_FORBIDDEN")
    taken = await app.client.get(f"{V3}/register/available", query={"username": "alice"})
    assert taken.json["errcode"] == "M_USER_IN_USE"
    await app.clock.advance(0)
    assert app.rooms.left == ["@alice:example.org"]
    user = await app.accounts.find("@alice:example.org")
    assert user is not None
    assert (user.deactivated, user.erased, user.password_hash) == (True, True, None)
    assert (await app.profiles.get("@alice:example.org")).as_json() == {}
    assert await app.database.read(account_data.load_global, "@alice:example.org", 0) == []


async def test_departures_go_on_after_a_restart(app: AccountsApp) -> None:
    await app.user("alice")
    await app.database.write(accounts.deactivate, "@alice:example.org", False)
    await app.accounts.resume_departures()
    while app.background.running:
        await app.clock.advance(0)
        await app.database.read(accounts.load_leaving)
    assert app.rooms.left == ["@alice:example.org"]
    assert await app.database.read(accounts.load_leaving) == []


async def test_devices(app: AccountsApp) -> None:
    alice = await app.user("alice", device_id="PHONE")
    await app.user("alice", device_id="LAPTOP")
    bob = await app.user("bob")
    named = await alice.put(f"{V3}/devices/PHONE", {"display_name": "My phone"})
    assert (named.status, named.json) == (200, {})
    assert (await alice.put(f"{V3}/devices/PHONE", {})).status == 200
    phone = (await alice.get(f"{V3}/devices/PHONE")).json
    assert phone == {
        "device_id": "PHONE",
        "display_name": "My phone",
        "last_seen_ip": "192.0.2.1",
        "last_seen_ts": app.clock.now_ms(),
    }
    listed = (await alice.get(f"{V3}/devices")).json["devices"]
    assert sorted(one["device_id"] for one in listed) == ["LAPTOP", "PHONE"]
    for client, device in ((bob, "PHONE"), (alice, "TOASTER")):
        assert (await client.get(f"{V3}/devices/{device}")).json["errcode"] == "M_NOT_FOUND"
        assert (await client.put(f"{V3}/devices/{device}", {"display_name": "x"})).status == 404
    assert (await alice.put(f"{V3}/devices/PHONE", {"display_name": "x" * 257})).status == 400
    assert app.rows.changed.count(("@alice:example.org", "PHONE")) == 2


async def test_delete_a_device(app: AccountsApp) -> None:
    alice = await app.user("alice", device_id="PHONE")
    laptop = await app.user("alice", device_id="LAPTOP")
    answer = await app.confirmed(alice, "DELETE", f"{V3}/devices/LAPTOP", "alice", {})
    assert (answer.status, answer.json) == (200, {})
    assert (await laptop.get(f"{V3}/account/whoami")).status == 401
    assert app.rows.deleted == [("@alice:example.org", ("LAPTOP",))]
    again = await app.confirmed(alice, "DELETE", f"{V3}/devices/LAPTOP", "alice", {})
    assert again.status == 200
    assert (await alice.delete(f"{V3}/devices/PHONE")).status == 401


async def test_a_session_for_one_device_does_not_delete_another(app: AccountsApp) -> None:
    alice = await app.user("alice", device_id="PHONE")
    session = (await alice.request("DELETE", f"{V3}/devices/LAPTOP", json={})).json["session"]
    auth = {"type": "m.login.password", **password_of("alice"), "session": session}
    assert (await alice.request("DELETE", f"{V3}/devices/PHONE", json={"auth": auth})).status == 403


async def test_delete_devices(app: AccountsApp) -> None:
    alice = await app.user("alice", device_id="PHONE")
    for name in ("A", "B", "C"):
        await app.user("alice", device_id=name)
    path = f"{V3}/delete_devices"
    assert (await alice.post(path, {})).json["errcode"] == "M_BAD_JSON"
    session = (await alice.post(path, {"devices": ["A", "B"]})).json["session"]
    auth = {"type": "m.login.password", **password_of("alice"), "session": session}
    changed = await alice.post(path, {"devices": ["A", "C"], "auth": auth})
    assert (changed.status, changed.json["errcode"]) == (403, "M_FORBIDDEN")
    assert (await alice.post(path, {"auth": auth})).json == {}
    left = {device.device_id for device in await app.devices.list_of("@alice:example.org")}
    assert left == {"PHONE", "C"}


async def test_application_services_manage_devices_without_asking(app: AccountsApp) -> None:
    bridge = app.client.with_token("bridge-token")
    path = f"{V3}/devices/PHONE"
    assert (await bridge.put(path, {"display_name": "Bridge"})).status == 201
    assert (await bridge.put(path, {})).status == 200
    assert (await bridge.get(path)).json == {"device_id": "PHONE", "display_name": "Bridge"}
    assert (await bridge.delete(path)).status == 200
    assert (await bridge.get(path)).status == 404


async def test_suspended_users_keep_their_profile(app: AccountsApp) -> None:
    alice, admin = await app.user("alice"), await app.user("root", admin=True)
    path = "/_matrix/client/v1/admin/suspend/@alice:example.org"
    assert (await admin.get(path)).json == {"suspended": False}
    assert (await admin.put(path, {"suspended": True})).json == {"suspended": True}
    assert (await admin.get(path)).json == {"suspended": True}
    refused = await alice.put(f"{V3}/profile/@alice:example.org/displayname", {"displayname": "Al"})
    assert (refused.status, refused.json["errcode"]) == (403, "M_USER_SUSPENDED")
    assert (await alice.get(f"{V3}/account/whoami")).status == 200


async def test_who_may_moderate_whom(app: AccountsApp) -> None:
    alice, admin = await app.user("alice"), await app.user("root", admin=True)
    path = "/_matrix/client/v1/admin/lock/"
    assert (await alice.get(path + "@root:example.org")).json["errcode"] == "M_FORBIDDEN"
    assert (await admin.get(path + "@root:example.org")).json["errcode"] == "M_FORBIDDEN"
    assert (await admin.get(path + "@nobody:example.org")).json["errcode"] == "M_NOT_FOUND"
    assert (await admin.get(path + "@alice:elsewhere.org")).json["errcode"] == "M_INVALID_PARAM"
    assert (await admin.get(path + "@alice:example.org")).json == {"locked": False}
    whois = await alice.get(f"{V3}/admin/whois/@alice:example.org")
    assert len(whois.json["devices"]) == 1
    assert (await alice.get(f"{V3}/admin/whois/@root:example.org")).status == 403


async def test_capabilities(app: AccountsApp) -> None:
    alice, admin = await app.user("alice"), await app.user("root", admin=True)
    shown = (await alice.get(f"{V3}/capabilities")).json["capabilities"]
    assert shown["m.room_versions"]["default"] == "12"
    assert shown["m.room_versions"]["available"]["1"] == "stable"
    assert shown["m.change_password"] == {"enabled": True}
    assert shown["m.3pid_changes"] == {"enabled": False}
    assert "m.account_moderation" not in shown
    assert "m.account_moderation" in (await admin.get(f"{V3}/capabilities")).json["capabilities"]


async def test_discovery(app: AccountsApp) -> None:
    versions = (await app.client.get("/_matrix/client/versions")).json
    assert {"r0.6.1", "v1.1", "v1.15"} <= set(versions["versions"])
    assert versions["unstable_features"]["uk.tcpip.msc4133"] is True
    well_known = (await app.client.get("/.well-known/matrix/client")).json
    assert well_known == {"m.homeserver": {"base_url": "https://matrix.example.org"}}
    assert (await app.client.get("/.well-known/matrix/support")).status == 404


async def test_support(tmp_path: Path) -> None:
    contact = {"contacts": [{"email_address": "admin@example.org"}], "support_page": "https://example.org/help"}
    async with running_app(tmp_path, admin_contact=contact) as app:
        assert (await app.client.get("/.well-known/matrix/support")).json == {
            "contacts": [{"role": "m.role.admin", "email_address": "admin@example.org"}],
            "support_page": "https://example.org/help",
        }
