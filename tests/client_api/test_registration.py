"""`POST /register`: names, modes, guests, application services, registration tokens, the shared secret."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import Any

import pytest
from accounts_app import PASSWORD, V3, AccountsApp, password_of, running_app

from homeserver.storage import registration_tokens as token_rows
from homeserver.testing import Answer

REGISTER = f"{V3}/register"
DUMMY = {"type": "m.login.dummy"}
VALIDITY = "/_matrix/client/v1/register/m.login.registration_token/validity"


async def register(app: AccountsApp, **body: Any) -> Answer:
    return await app.client.post(REGISTER, {"password": PASSWORD, "auth": DUMMY, **body})


async def test_the_whole_exchange(app: AccountsApp) -> None:
    body = {"username": "alice", "password": PASSWORD, "initial_device_display_name": "Phone", "device_id": "PHONE"}
    first = await app.client.post(REGISTER, body)
    assert first.status == 401
    assert first.json == {"flows": [{"stages": ["m.login.dummy"]}], "params": {}, "session": first.json["session"]}
    second = await app.client.post(REGISTER, {**body, "auth": {**DUMMY, "session": first.json["session"]}})
    assert second.status == 200
    assert second.json["user_id"] == "@alice:example.org"
    assert second.json["device_id"] == "PHONE"
    client = app.client.with_token(second.json["access_token"])
    assert (await client.get(f"{V3}/devices/PHONE")).json["display_name"] == "Phone"
    assert (await client.get(f"{V3}/profile/@alice:example.org")).json == {"displayname": "alice"}
    login = await app.client.post(f"{V3}/login", {"type": "m.login.password", **password_of("alice")})
    assert login.status == 200
    again = await app.client.post(REGISTER, {**body, "auth": {**DUMMY, "session": first.json["session"]}})
    assert again.json["errcode"] == "M_USER_IN_USE"


async def test_the_session_remembers_the_request(app: AccountsApp) -> None:
    first = await app.client.post(REGISTER, {"username": "alice", "password": PASSWORD, "device_id": "PHONE"})
    second = await app.client.post(REGISTER, {"auth": {**DUMMY, "session": first.json["session"]}})
    assert (second.json["user_id"], second.json["device_id"]) == ("@alice:example.org", "PHONE")
    login = await app.client.post(f"{V3}/login", {"type": "m.login.password", **password_of("alice")})
    assert login.status == 200


async def test_a_first_request_may_be_empty(app: AccountsApp) -> None:
    first = await app.client.post(REGISTER, {})
    auth = {**DUMMY, "session": first.json["session"]}
    second = await app.client.post(REGISTER, {"username": "alice", "password": PASSWORD, "auth": auth})
    assert second.json["user_id"] == "@alice:example.org"


async def test_no_name_no_password_no_login(app: AccountsApp) -> None:
    nameless = await register(app, inhibit_login=True)
    assert nameless.json.keys() == {"user_id", "home_server"}
    assert nameless.json["user_id"].endswith(":example.org")
    assert (await register(app, password=None)).json["errcode"] == "M_MISSING_PARAM"


async def test_new_accounts_are_limited_by_address(tmp_path: Path) -> None:
    limits = {"enabled": True, "registration": {"per_second": 0.1, "burst": 1}}
    async with running_app(tmp_path, rate_limits=limits) as app:
        for _ in range(3):  # asking costs nothing, opening an account does
            assert (await app.client.post(REGISTER, {"username": "alice", "password": PASSWORD})).status == 401
        assert (await register(app, username="alice")).status == 200
        limited = await register(app, username="bob")
        assert (limited.status, limited.json["retry_after_ms"]) == (429, 10_000)
        await app.clock.advance(10)
        assert (await register(app, username="bob")).status == 200


async def test_nobody_chooses_their_hash(app: AccountsApp) -> None:
    refused = await register(app, username="alice", password=None, password_hash="$argon2id$v=19$m=4194304,t=9,p=1$x$y")
    assert refused.json["errcode"] == "M_MISSING_PARAM"


async def test_refresh_tokens(app: AccountsApp) -> None:
    answer = await register(app, username="alice", refresh_token=True)
    assert answer.json["expires_in_ms"] == 300_000
    assert (await app.client.post(f"{V3}/refresh", {"refresh_token": answer.json["refresh_token"]})).status == 200


@pytest.mark.parametrize(
    ("username", "errcode"),
    [
        ("alice", "M_USER_IN_USE"),
        ("ALICE", "M_USER_IN_USE"),
        ("admin", "M_USER_IN_USE"),
        ("irc-alice", "M_EXCLUSIVE"),
        ("_alice", "M_INVALID_USERNAME"),
        ("al ice", "M_INVALID_USERNAME"),
        ("alicé", "M_INVALID_USERNAME"),
        ("", "M_INVALID_USERNAME"),
        ("a" * 250, "M_INVALID_USERNAME"),
    ],
)
async def test_names_are_checked_before_anything_else(app: AccountsApp, username: str, errcode: str) -> None:
    await app.user("alice")
    refused = await app.client.post(REGISTER, {"username": username, "password": PASSWORD})
    assert (refused.status, refused.json["errcode"]) == (400, errcode)
    refused = await app.client.get(f"{REGISTER}/available", query={"username": username})
    assert (refused.status, refused.json["errcode"]) == (400, errcode)


async def test_available(app: AccountsApp) -> None:
    answer = await app.client.get(f"{REGISTER}/available", query={"username": "alice"})
    assert answer.json == {"available": True}
    assert (await app.client.get(f"{REGISTER}/available")).json["errcode"] == "M_MISSING_PARAM"


async def test_capitals_are_lowered(app: AccountsApp) -> None:
    assert (await register(app, username="Alice")).json["user_id"] == "@alice:example.org"


async def test_a_name_taken_during_the_exchange(app: AccountsApp) -> None:
    first = await app.client.post(REGISTER, {"password": PASSWORD, "username": "alice"})
    await app.user("alice")
    second = await register(app, username="alice", auth={**DUMMY, "session": first.json["session"]})
    assert (second.status, second.json["errcode"]) == (400, "M_USER_IN_USE")


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({"password": "short"}, "M_WEAK_PASSWORD"),
        ({"password": "x" * 513}, "M_INVALID_PARAM"),
        ({"password": 5}, "M_BAD_JSON"),
        ({"username": 5}, "M_BAD_JSON"),
        ({"auth": "please"}, "M_BAD_JSON"),
    ],
)
async def test_bodies_are_checked(app: AccountsApp, body: dict[str, Any], errcode: str) -> None:
    refused = await app.client.post(REGISTER, body)
    assert (refused.status, refused.json["errcode"]) == (400, errcode)


async def test_closed(tmp_path: Path) -> None:
    async with running_app(tmp_path, registration={"mode": "closed"}) as app:
        refused = await register(app, username="alice")
        assert (refused.status, refused.json["errcode"]) == (403, "M_FORBIDDEN")
        assert (await app.client.get(VALIDITY, query={"token": "x"})).status == 403


async def test_kinds(app: AccountsApp) -> None:
    assert (await app.client.post(f"{REGISTER}?kind=guest", {})).status == 403
    assert (await app.client.post(f"{REGISTER}?kind=king", {})).status == 400


async def test_registration_tokens(tmp_path: Path) -> None:
    async with running_app(tmp_path, registration={"mode": "token"}) as app:
        await app.database.write(token_rows.create_token, "once", 1, None, 0)
        assert (await app.client.get(VALIDITY, query={"token": "once"})).json == {"valid": True}
        assert (await app.client.get(VALIDITY, query={"token": "never"})).json == {"valid": False}
        flow = [{"stages": ["m.login.registration_token"]}]
        wrong = await register(app, auth={"type": "m.login.registration_token", "token": "never"})
        assert (wrong.status, wrong.json["errcode"], wrong.json["flows"]) == (401, "M_FORBIDDEN", flow)
        dummy = await register(app, auth=DUMMY)
        assert (dummy.status, dummy.json["flows"]) == (401, flow)
        auth = {"type": "m.login.registration_token", "token": "once"}
        assert (await register(app, username="alice", auth=auth)).status == 200
        used = await app.database.read(token_rows.find_token, "once")
        assert used is not None
        assert (used.pending, used.completed) == (0, 1)
        assert (await register(app, username="bob", auth=auth)).status == 401
        assert (await app.client.get(VALIDITY, query={"token": "once"})).json == {"valid": False}


async def test_an_abandoned_registration_gives_its_token_back(tmp_path: Path) -> None:
    settings = {"mode": "token", "terms_url": "https://example.org/terms"}
    async with running_app(tmp_path, registration=settings) as app:
        await app.database.write(token_rows.create_token, "once", 1, None, 0)
        first = await app.client.post(REGISTER, {"username": "alice", "password": PASSWORD})
        assert first.json["flows"] == [{"stages": ["m.login.terms", "m.login.registration_token"]}]
        assert (
            first.json["params"]["m.login.terms"]["policies"]["terms_of_service"]["en"]["url"] == settings["terms_url"]
        )
        token = {"type": "m.login.registration_token", "token": "once", "session": first.json["session"]}
        early = await app.client.post(REGISTER, {"auth": token})
        assert (early.status, early.json["errcode"]) == (401, "M_FORBIDDEN")
        agreed = await app.client.post(REGISTER, {"auth": {"type": "m.login.terms", "session": token["session"]}})
        assert (agreed.status, agreed.json["completed"]) == (401, ["m.login.terms"])
        # Without the password nothing can be opened, yet the token is spoken for.
        other = await app.client.post(REGISTER, {"username": "bob"})
        session = other.json["session"]
        await app.client.post(REGISTER, {"auth": {"type": "m.login.terms", "session": session}})
        stuck = await app.client.post(REGISTER, {"auth": {**token, "session": session}})
        assert stuck.json["errcode"] == "M_MISSING_PARAM"
        assert (await app.client.get(VALIDITY, query={"token": "once"})).json == {"valid": False}
        await app.clock.advance(3601)
        await app.retention.run()
        assert (await app.client.get(VALIDITY, query={"token": "once"})).json == {"valid": True}


async def test_guests(tmp_path: Path) -> None:
    async with running_app(tmp_path, guests={"enabled": True}) as app:
        answer = await app.client.post(f"{REGISTER}?kind=guest", {"device_id": "MINE", "password": 5})
        assert answer.status == 200
        assert answer.json["device_id"] != "MINE"
        guest = app.client.with_token(answer.json["access_token"])
        assert (await guest.get(f"{V3}/account/whoami")).json["is_guest"] is True
        refused = await guest.post(f"{V3}/account/password", {"new_password": PASSWORD})
        assert (refused.status, refused.json["errcode"]) == (403, "M_GUEST_ACCESS_FORBIDDEN")
        user_id = answer.json["user_id"]
        assert (await guest.put(f"{V3}/profile/{user_id}/displayname", {"displayname": "Guest"})).status == 200
        assert (await guest.put(f"{V3}/profile/{user_id}/avatar_url", {"avatar_url": "mxc://a/b"})).status == 403
        upgrade = {"guest_access_token": answer.json["access_token"], "username": user_id[1:].split(":")[0]}
        assert (await register(app, **{**upgrade, "username": "other"})).json["errcode"] == "M_INVALID_PARAM"
        assert (await register(app, **{**upgrade, "guest_access_token": "x"})).json["errcode"] == "M_FORBIDDEN"
        upgraded = await register(app, **upgrade)
        assert upgraded.json["user_id"] == user_id
        assert (await guest.get(f"{V3}/account/whoami")).status == 401
        user = app.client.with_token(upgraded.json["access_token"])
        assert (await user.get(f"{V3}/account/whoami")).json["is_guest"] is False


async def test_idle_guests_are_closed(tmp_path: Path) -> None:
    async with running_app(tmp_path, guests={"enabled": True}) as app:
        answer = await app.client.post(f"{REGISTER}?kind=guest", {})
        await app.clock.advance(29 * 86_400)
        await app.retention.run()
        assert (await app.client.get(f"{V3}/account/whoami", token=answer.json["access_token"])).status == 200
        await app.tokens.flush_last_seen()
        await app.clock.advance(31 * 86_400)
        await app.retention.run()
        assert (await app.client.get(f"{V3}/account/whoami", token=answer.json["access_token"])).status == 401


async def test_application_services(app: AccountsApp) -> None:
    body = {"type": "m.login.application_service", "username": "_bridge_bob"}
    answer = await app.client.post(REGISTER, body, token="bridge-token")
    assert answer.json["user_id"] == "@_bridge_bob:example.org"
    assert (await app.client.post(REGISTER, body, token="bridge-token")).json["errcode"] == "M_USER_IN_USE"
    outside = await app.client.post(REGISTER, {**body, "username": "bob"}, token="bridge-token")
    assert (outside.status, outside.json["errcode"]) == (400, "M_EXCLUSIVE")
    stranger = await app.client.post(REGISTER, body, token="other")
    assert (stranger.status, stranger.json["errcode"]) == (401, "M_UNKNOWN_TOKEN")
    assert (await app.client.post(REGISTER, body)).json["errcode"] == "M_MISSING_TOKEN"
    quiet = await app.client.post(
        REGISTER, {**body, "username": "_bridge_eve", "inhibit_login": True}, token="bridge-token"
    )
    assert "access_token" not in quiet.json


ADMIN = "/_synapse/admin/v1/register"


def mac_of(nonce: str, *parts: str) -> str:
    return hmac.new(b"sesame", "\0".join((nonce, *parts)).encode(), hashlib.sha1).hexdigest()


async def test_shared_secret(app: AccountsApp) -> None:
    nonce = (await app.client.get(ADMIN)).json["nonce"]
    body = {"nonce": nonce, "username": "root", "password": PASSWORD, "admin": True, "displayname": "Root"}
    answer = await app.client.post(ADMIN, {**body, "mac": mac_of(nonce, "root", PASSWORD, "admin")})
    assert answer.json["user_id"] == "@root:example.org"
    user = await app.accounts.get_active("@root:example.org")
    assert user.admin
    assert (await app.profiles.get(user.user_id)).displayname == "Root"
    again = await app.client.post(ADMIN, {**body, "mac": mac_of(nonce, "root", PASSWORD, "admin")})
    assert again.status == 400


async def test_shared_secret_refusals(app: AccountsApp) -> None:
    body = {"username": "root", "password": PASSWORD, "admin": True}

    async def attempt(nonce: str, mac: str) -> int:
        return (await app.client.post(ADMIN, {**body, "nonce": nonce, "mac": mac})).status

    nonce = (await app.client.get(ADMIN)).json["nonce"]
    assert await attempt(nonce, mac_of(nonce, "root", PASSWORD, "notadmin")) == 403
    assert await attempt("nonsense", mac_of("nonsense", "root", PASSWORD, "admin")) == 400
    nonce = (await app.client.get(ADMIN)).json["nonce"]
    await app.clock.advance(61)
    assert await attempt(nonce, mac_of(nonce, "root", PASSWORD, "admin")) == 400
    assert await app.accounts.find("@root:example.org") is None


async def test_shared_secret_off(tmp_path: Path) -> None:
    async with running_app(tmp_path, registration={"shared_secret": None}) as app:
        assert (await app.client.get(ADMIN)).status == 400
