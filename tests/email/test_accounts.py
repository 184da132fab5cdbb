"""People and their addresses: sign up, log in, forget the password, add and remove addresses."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlencode

import pytest
from email_people import (
    PASSWORD,
    add,
    addresses,
    confirmed,
    credentials,
    follow,
    log_in,
    request_token,
    sign_up,
)
from mail_server import MailServer
from plugin_kit import server_with
from server_kit import V3, Server

RESET = f"{V3}/account/password"


async def test_sign_up_by_email(birdhouse: Server, post: MailServer) -> None:
    alice = await sign_up(birdhouse, post, "alice", "Alice@Example.COM".casefold())
    (kept,) = (await alice.call("GET", "/account/3pid"))["threepids"]
    assert (kept["medium"], kept["address"]) == ("email", "alice@example.com")
    assert kept["added_at"] >= kept["validated_at"] > 1_700_000_000_000
    letter = post.letters[0]
    assert letter.subject == "Confirm your address for Birdhouse"
    assert letter.message["From"] == "Starling <noreply@example.org>"
    assert letter.message["Auto-Submitted"] == "auto-generated"
    assert "color-scheme" in letter.html
    assert letter.code in letter.html


async def test_without_an_address_as_before(birdhouse: Server) -> None:
    body = {"username": "bob", "password": PASSWORD}
    asked = await birdhouse.client.post(f"{V3}/register", body)
    assert asked.json["flows"] == [{"stages": ["m.login.dummy"]}, {"stages": ["m.login.email.identity"]}]
    auth = {"type": "m.login.dummy", "session": asked.json["session"]}
    assert (await birdhouse.client.post(f"{V3}/register", {**body, "auth": auth})).status == 200


async def test_a_stage_waits_for_the_confirmation(birdhouse: Server, post: MailServer) -> None:
    body = {"username": "alice", "password": PASSWORD}
    session = (await birdhouse.client.post(f"{V3}/register", body)).json["session"]
    sid = (await request_token(birdhouse.client, "register", "alice@example.com")).json["sid"]
    auth = {**credentials(sid), "session": session}
    early = await birdhouse.client.post(f"{V3}/register", {**body, "auth": auth})
    assert (early.status, early.json["errcode"], early.json["session"]) == (401, "M_THREEPID_AUTH_FAILED", session)
    await follow(birdhouse.client, await post.next_to("alice@example.com"))
    stranger = {**credentials(sid, "other-secret"), "session": session}
    assert (await birdhouse.client.post(f"{V3}/register", {**body, "auth": stranger})).status == 401
    assert (await birdhouse.client.post(f"{V3}/register", {**body, "auth": auth})).status == 200


async def test_two_cannot_sign_up_with_one_address(birdhouse: Server, post: MailServer) -> None:
    sid = await confirmed(birdhouse, post, "register", "alice@example.com")
    await sign_up(birdhouse, post, "alice", "alice2@example.com")
    for name, status in (("carol", 200), ("dave", 401)):
        body = {"username": name, "password": PASSWORD}
        session = (await birdhouse.client.post(f"{V3}/register", body)).json["session"]
        auth = {**credentials(sid), "session": session}
        assert (await birdhouse.client.post(f"{V3}/register", {**body, "auth": auth})).status == status


async def test_an_address_may_be_demanded_and_of_certain_domains(tmp_path: Path, post: MailServer) -> None:
    registration = {"mode": "open", "email": "required", "email_domains": ["example.com", "*.example.com"]}
    async with server_with(tmp_path, email=post.settings(), registration=registration) as server:
        asked = await server.client.post(f"{V3}/register", {"username": "alice", "password": PASSWORD})
        assert asked.json["flows"] == [{"stages": ["m.login.email.identity"]}]
        for kind in ("register", "account/3pid"):
            refused = await request_token(server.client, kind, "eve@elsewhere.example")
            assert (refused.status, refused.json["errcode"]) == (403, "M_THREEPID_DENIED")
        await sign_up(server, post, "alice", "alice@team.example.com")


async def test_login_by_address(birdhouse: Server, post: MailServer) -> None:
    await sign_up(birdhouse, post, "alice", "alice@example.com")
    there = await log_in(birdhouse.client, "ALICE@example.com")
    assert (there.status, there.json["user_id"]) == (200, "@alice:example.org")
    wrong = await log_in(birdhouse.client, "alice@example.com", "wrong")
    unknown = await log_in(birdhouse.client, "nobody@example.com")
    assert (wrong.status, wrong.json) == (unknown.status, unknown.json) == (403, wrong.json)


async def test_the_servers_own_password_login_knows_addresses_too(tmp_path: Path, post: MailServer) -> None:
    async with server_with(tmp_path, email=post.settings()) as server:
        await sign_up(server, post, "alice", "alice@example.com")
        assert (await log_in(server.client, "alice@example.com")).status == 200
        assert (await log_in(server.client, "no address")).status == 403


async def test_a_forgotten_password(birdhouse: Server, post: MailServer) -> None:
    alice = await sign_up(birdhouse, post, "alice", "alice@example.com")
    sid = await confirmed(birdhouse, post, "account/password", "alice@example.com")
    asked = await birdhouse.client.post(RESET, {"new_password": "a new secret"})
    assert (asked.status, asked.json["flows"]) == (401, [{"stages": ["m.login.email.identity"]}])
    auth = {**credentials(sid), "session": asked.json["session"]}
    done = await birdhouse.client.post(RESET, {"new_password": "a new secret", "auth": auth})
    assert (done.status, done.json) == (200, {})
    assert (await alice.ask("GET", "/account/whoami")).status == 401
    assert (await log_in(birdhouse.client, "alice@example.com")).status == 403
    assert (await log_in(birdhouse.client, "alice@example.com", "a new secret")).status == 200
    again = await birdhouse.client.post(RESET, {"new_password": "another one"})
    auth = {**credentials(sid), "session": again.json["session"]}
    assert (await birdhouse.client.post(RESET, {"new_password": "another one", "auth": auth})).status == 401


async def test_devices_may_stay_logged_in(birdhouse: Server, post: MailServer) -> None:
    alice = await sign_up(birdhouse, post, "alice", "alice@example.com")
    sid = await confirmed(birdhouse, post, "account/password", "alice@example.com")
    body = {"new_password": "a new secret", "logout_devices": False}
    session = (await birdhouse.client.post(RESET, body)).json["session"]
    auth = {**credentials(sid), "session": session}
    assert (await birdhouse.client.post(RESET, {**body, "auth": auth})).status == 200
    await alice.call("GET", "/account/whoami")


async def test_what_confirms_an_address_for_one_thing_is_no_good_for_another(
    birdhouse: Server, post: MailServer
) -> None:
    alice = await sign_up(birdhouse, post, "alice", "alice@example.com")
    sid = await confirmed(birdhouse, post, "account/3pid", "second@example.com")
    assert (await add(alice, sid)).status == 200
    sid = await confirmed(birdhouse, post, "account/3pid", "third@example.com")
    session = (await birdhouse.client.post(RESET, {"new_password": "a new secret"})).json["session"]
    auth = {**credentials(sid), "session": session}
    refused = await birdhouse.client.post(RESET, {"new_password": "a new secret", "auth": auth})
    assert (refused.status, refused.json["errcode"]) == (401, "M_THREEPID_AUTH_FAILED")


async def test_adding_and_removing_an_address(birdhouse: Server, post: MailServer) -> None:
    alice = await sign_up(birdhouse, post, "alice", "alice@example.com")
    early = (await request_token(birdhouse.client, "account/3pid", "work@example.com")).json["sid"]
    refused = await add(alice, early)
    assert (refused.status, refused.json["errcode"]) == (400, "M_SESSION_NOT_VALIDATED")
    await follow(birdhouse.client, await post.next_to("work@example.com"))
    assert (await add(alice, early)).status == 200
    assert await addresses(alice) == ["alice@example.com", "work@example.com"]
    told = await post.next_to("alice@example.com", 2)
    assert "work@example.com now belongs to the account @alice:example.org" in told.text
    used = await add(alice, early)
    assert (used.status, used.json["errcode"]) == (400, "M_NO_VALID_SESSION")
    gone = await alice.call("POST", "/account/3pid/delete", {"medium": "email", "address": "Work@example.com"})
    assert gone == {"id_server_unbind_result": "no-support"}
    assert await addresses(alice) == ["alice@example.com"]


async def test_an_address_of_somebody_else_stays_theirs(birdhouse: Server, post: MailServer) -> None:
    alice = await sign_up(birdhouse, post, "alice", "alice@example.com")
    bob = await sign_up(birdhouse, post, "bob", "bob@example.com")
    sid = await confirmed(birdhouse, post, "account/3pid", "shared@example.com")
    other = (await request_token(birdhouse.client, "account/3pid", "shared@example.com", client_secret="other")).json[
        "sid"
    ]
    await follow(birdhouse.client, await post.next_to("shared@example.com", 2))
    assert (await add(alice, sid)).status == 200
    await bob.call("POST", "/account/3pid/delete", {"medium": "email", "address": "shared@example.com"})
    assert await addresses(alice) == ["alice@example.com", "shared@example.com"]
    body = {"sid": other, "client_secret": "other"}
    asked = await bob.ask("POST", "/account/3pid/add", body)
    auth = {"type": "m.login.password", "password": PASSWORD, "session": asked.json["session"]}
    refused = await bob.ask("POST", "/account/3pid/add", {**body, "auth": auth})
    assert (refused.status, refused.json["errcode"]) == (400, "M_THREEPID_IN_USE")


async def test_addresses_go_with_the_account(birdhouse: Server, post: MailServer) -> None:
    alice = await sign_up(birdhouse, post, "alice", "alice@example.com")
    session = (await alice.ask("POST", "/account/deactivate", {})).json["session"]
    auth = {"type": "m.login.password", "password": PASSWORD, "session": session}
    assert await alice.call("POST", "/account/deactivate", {"auth": auth}) == {"id_server_unbind_result": "success"}
    assert (await log_in(birdhouse.client, "alice@example.com")).status == 403
    await sign_up(birdhouse, post, "alice2", "alice@example.com")


@pytest.mark.parametrize(("enabled", "shown"), [(True, True), (False, False)])
async def test_what_the_server_says_of_itself(tmp_path: Path, post: MailServer, enabled: bool, shown: bool) -> None:
    async with server_with(tmp_path, email=post.settings(enabled=enabled)) as server:
        alice = await server.user("alice")
        capabilities = (await alice.call("GET", "/capabilities"))["capabilities"]
        assert capabilities["m.3pid_changes"] == {"enabled": shown}
        status = (await server.client.post(RESET, {"new_password": "a new secret"})).json
        assert ("flows" in status) is shown
        removed = await alice.call("POST", "/account/3pid/unbind", {"medium": "email", "address": "a@example.com"})
        assert removed == {"id_server_unbind_result": "no-support"}


async def test_an_address_confirmed_in_the_browser(birdhouse: Server, post: MailServer) -> None:
    """For clients that do not know the stage: they open its page, and go on when it says so."""
    body = {"username": "wren", "password": PASSWORD}
    session = (await birdhouse.client.post(f"{V3}/register", body)).json["session"]
    page = f"{V3}/auth/m.login.email.identity/fallback/web"
    first = await birdhouse.client.get(page, query={"session": session})
    assert b'name="email"' in first.body
    headers = {"content-type": "application/x-www-form-urlencoded"}
    asked = await birdhouse.client.request(
        "POST", page, body=f"session={session}&email=wren%40example.com".encode(), headers=headers
    )
    assert b"A message is on its way to wren@example.com" in asked.body
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', asked.body.decode()))
    form = urlencode(hidden).encode()
    too_early = await birdhouse.client.request("POST", page, body=form, headers=headers)
    assert (too_early.status, b"onAuthDone" in too_early.body) == (401, False)
    assert b"A message is on its way" in too_early.body
    await follow(birdhouse.client, await post.next_to("wren@example.com", 1))
    done = await birdhouse.client.request("POST", page, body=form, headers=headers)
    assert b"onAuthDone" in done.body
    made = await birdhouse.client.post(f"{V3}/register", {**body, "auth": {"session": session}})
    assert made.status == 200
