"""The web page of an auth stage, and what a server without third-party identifiers says."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from accounts_app import PASSWORD, V3, AccountsApp, running_app

from homeserver.storage import registration_tokens as token_rows

REGISTER = f"{V3}/register"
PAGE = f"{V3}/auth/m.login.registration_token/fallback/web"


async def test_a_stage_completed_in_the_browser(tmp_path: Path) -> None:
    async with running_app(tmp_path, registration={"mode": "token"}) as app:
        await app.database.write(token_rows.create_token, "once", 1, None, 0)
        session = (await app.client.post(REGISTER, {"username": "alice", "password": PASSWORD})).json["session"]
        page = await app.client.get(PAGE, query={"session": session})
        assert page.status == 200
        assert page.headers["content-type"].startswith("text/html")
        assert f'name="session" value="{session}"' in page.body.decode()
        wrong = await app.client.post(PAGE, body=f"session={session}&token=never".encode())
        assert wrong.status == 403
        assert b"not valid" in wrong.body
        assert (await app.client.post(REGISTER, {"auth": {"session": session}})).status == 401
        done = await app.client.post(PAGE, body=f"session={session}&token=once".encode())
        assert b"onAuthDone" in done.body
        answer = await app.client.post(REGISTER, {"auth": {"session": session}})
        assert answer.json["user_id"] == "@alice:example.org"


async def test_what_is_shown_is_escaped(app: AccountsApp) -> None:
    page = await app.client.get(f"{PAGE}?session=" + quote('"><script>'))
    assert b'"><script>' not in page.body
    assert b"&quot;&gt;&lt;script&gt;" in page.body


async def test_pages_that_do_not_exist(app: AccountsApp) -> None:
    path = PAGE.replace("m.login.registration_token", "m.login.password")
    assert (await app.client.get(path, query={"session": "x"})).status == 404
    assert (await app.client.post(path, body=b"session=x")).status == 404
    assert (await app.client.get(PAGE)).json["errcode"] == "M_MISSING_PARAM"


async def test_no_third_party_identifiers(app: AccountsApp) -> None:
    alice = await app.user("alice")
    assert (await alice.get(f"{V3}/account/3pid")).json == {"threepids": []}


@pytest.mark.parametrize("path", ["/register/email/requestToken", "/account/3pid/add", "/account/3pid"])
async def test_none_can_be_added(app: AccountsApp, path: str) -> None:
    alice = await app.user("alice")
    body = {"client_secret": "s", "sid": "1", "three_pid_creds": {}}
    refused = await alice.post(V3 + path, body)
    assert (refused.status, refused.json["errcode"]) == (403, "M_THREEPID_DENIED")
