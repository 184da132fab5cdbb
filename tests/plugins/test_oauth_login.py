"""Single sign-on from the first click to the session: OpenID Connect, GitHub's dialect, and all that may go wrong."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from identity_providers import BASEURL, CLIENT_ID, CLIENT_SECRET, Browser, GitHub, OpenIdProvider, login_token_of
from joserfc.jwk import RSAKey
from plugin_kit import loopback, server_with
from server_kit import Server

from homeserver.testing import Answer
from homeserver_plugins.oauth_login.usernames import suggested_username

REDIRECT = "/_matrix/client/v3/login/sso/redirect"
APP = "https://app.example.org/?keep=this&loginToken=old"
TRUSTED = ["https://app.example.org/"]
# Without the pages of the OAuth 2.0 API, single sign-on begins at the providers.
LEGACY_ONLY: dict[str, Any] = {"oauth_provider": {"enabled": False}}


@dataclass
class Scene:
    server: Server
    provider: Any
    browser: Browser

    async def log_in(self, redirect_url: str = APP, provider: str = "/corp", more: str = "") -> Answer:
        return await self.browser.open(f"{REDIRECT}{provider}?redirectUrl={quote(redirect_url, safe='')}{more}")

    async def session_of(self, answer: Answer) -> dict[str, Any]:
        """The session that the login token in an answer opens."""
        _, token = login_token_of(answer)
        body = {"type": "m.login.token", "token": token}
        opened = await self.server.client.post("/_matrix/client/v3/login", body)
        assert opened.status == 200, opened.body
        return dict(opened.json)


@asynccontextmanager
async def scene(folder: Path, provider: Any = None, **settings: Any) -> AsyncIterator[Scene]:
    provider = provider or OpenIdProvider()
    async with loopback(provider.handlers()) as provider.url:
        client = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        if isinstance(provider, GitHub):
            one = {
                "id": "github",
                "preset": "github",
                "authorization_endpoint": f"{provider.url}/login/oauth/authorize",
                "token_endpoint": f"{provider.url}/login/oauth/access_token",
                "userinfo_endpoint": f"{provider.url}/user",
            }
        else:
            one = {"id": "corp", "name": "Corporation", "issuer": provider.url}
        plugin = {"providers": [{**one, **client, **settings}], "trusted_clients": TRUSTED}
        sections = {"server": {"server_name": "example.org", "public_baseurl": BASEURL, "data_directory": str(folder)}}
        sections |= LEGACY_ONLY
        async with server_with(folder, {"name": "oauth_login", "settings": plugin}, **sections) as server:
            yield Scene(server, provider, Browser(server.client))


async def test_a_newcomer_chooses_a_name_and_comes_back_to_the_same_account(tmp_path: Path) -> None:
    async with scene(tmp_path) as made:
        page = await made.log_in()
        assert page.status == 200
        assert b'value="alice.liddell"' in page.body
        answer = await made.browser.submit(page, username="alice")
        target, _ = login_token_of(answer)
        assert target == "https://app.example.org/?keep=this"
        session = await made.session_of(answer)
        assert session["user_id"] == "@alice:example.org"
        profile = await made.server.homeserver.profiles.fetch("@alice:example.org")
        assert profile["displayname"] == "Alice"
        again = await made.log_in()
        assert again.status == 302
        assert (await made.session_of(again))["user_id"] == "@alice:example.org"
        assert made.browser.cookies == {}


async def test_the_request_carries_pkce_state_and_nonce_and_the_cookie_is_sealed(tmp_path: Path) -> None:
    async with scene(tmp_path) as made:
        await made.log_in()
        (asked,) = made.provider.asked
        assert asked["redirect_uri"] == f"{BASEURL}/_starling/client/oauth/callback/corp"
        assert asked["scope"] == "openid profile email"
        assert len(asked["state"]) >= 32
        assert len(asked["nonce"]) >= 32
        cookie = made.browser.set_cookies[0]
        for flag in ("HttpOnly", "Secure", "SameSite=lax", "Path=/_starling/client/oauth"):
            assert flag in cookie
        assert asked["state"] not in cookie
        assert "app.example.org" not in cookie


async def test_clients_see_the_providers_and_people_choose_among_several(tmp_path: Path) -> None:
    one = {"client_id": "c", "issuer": "https://idp.example.org"}
    providers = [
        {"id": "corp", "name": "Corporation & Sons", "icon": "mxc://example.org/icon", **one},
        {"id": "google", "preset": "google", "client_id": "c"},
    ]
    plugin = {"name": "oauth_login", "settings": {"providers": providers}}
    async with server_with(tmp_path, plugin, **LEGACY_ONLY) as server:
        flows = (await server.client.get("/_matrix/client/v3/login")).json["flows"]
        (sso,) = [flow for flow in flows if flow["type"] == "m.login.sso"]
        assert sso["identity_providers"] == [
            {"id": "corp", "name": "Corporation & Sons", "icon": "mxc://example.org/icon"},
            {"id": "google", "name": "Google", "brand": "google"},
        ]
        page = await server.client.get(f"{REDIRECT}?redirectUrl=https%3A%2F%2Fapp.example.org%2F&action=register")
        text = page.body.decode()
        assert "Corporation &amp; Sons" in text
        assert f"{REDIRECT}/google?redirectUrl=https%3A%2F%2Fapp.example.org%2F&amp;action=register" in text
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        for light_and_phone in ("prefers-color-scheme:dark", "width=device-width"):
            assert light_and_phone in text
        refused = await server.client.post("/_matrix/client/v3/login", {"type": "m.login.sso"})
        assert refused.json["errcode"] == "M_UNKNOWN"
        assert (await server.client.get(f"{REDIRECT}/nobody?redirectUrl=https://a.example/")).status == 404


async def test_without_single_sign_on_there_is_no_flow(tmp_path: Path) -> None:
    async with server_with(tmp_path, **LEGACY_ONLY) as server:
        flows = (await server.client.get("/_matrix/client/v3/login")).json["flows"]
        assert "m.login.sso" not in [flow["type"] for flow in flows]
        assert (await server.client.get(f"{REDIRECT}?redirectUrl=https://a.example/")).status == 404


async def test_a_client_nobody_vouched_for_has_to_be_confirmed(tmp_path: Path) -> None:
    async with scene(tmp_path, choose_username=False) as made:
        answer = await made.log_in("https://evil.example/?a=<b>")
        assert answer.status == 200
        text = answer.body.decode()
        assert "evil.example" in text
        assert "@alice.liddell:example.org" in text
        assert "<b>&" not in text
        assert (await made.session_of(answer))["user_id"] == "@alice.liddell:example.org"
        native = await made.log_in("io.element:/callback")
        assert b"an app (io.element:)" in native.body


async def test_a_redirect_that_is_no_place_to_go_is_refused(tmp_path: Path) -> None:
    async with scene(tmp_path) as made:
        for url in ("javascript:alert(1)", "no-url", "https:///path", "data:text/html,a", "https://a b/", "x:" * 1001):
            answer = await made.log_in(url)
            assert answer.status == 400, url
        assert made.provider.asked == []


async def test_an_id_token_that_does_not_hold_logs_nobody_in(tmp_path: Path) -> None:
    spoilt: list[dict[str, Any]] = [
        {"nonce": "another"},
        {"aud": "another-client"},
        {"iss": "https://evil.example"},
        {"exp": 1_600_000_000},
        {"azp": "another-client"},
        {"sub": "somebody-else"},
    ]
    async with scene(tmp_path, choose_username=False) as made:
        for changes in spoilt:
            made.provider.changes = changes
            answer = await made.log_in()
            assert answer.status == 502, changes
            assert b"Corporation could not log you in" in answer.body
        assert await made.server.homeserver.accounts.accounts.find("@alice.liddell:example.org") is None
        made.provider.changes = {}
        assert (await made.log_in()).status == 302


async def test_a_signature_by_another_key_does_not_hold_but_a_new_key_is_fetched(tmp_path: Path) -> None:
    async with scene(tmp_path, choose_username=False) as made:
        assert (await made.log_in()).status == 302
        other = RSAKey.generate_key(2048, {"kid": "one"})
        made.provider.signed_by = other
        assert (await made.log_in()).status == 502
        made.provider.key = other
        assert (await made.log_in()).status == 302


async def test_userinfo_about_somebody_else_logs_nobody_in(tmp_path: Path) -> None:
    async with scene(tmp_path, choose_username=False) as made:
        made.provider.userinfo_changes = {"sub": "somebody-else"}
        assert (await made.log_in()).status == 502


async def test_a_wrong_secret_logs_nobody_in(tmp_path: Path) -> None:
    async with scene(tmp_path, client_secret="wrong") as made:
        assert (await made.log_in()).status == 502


async def test_a_callback_nobody_asked_for_is_refused(tmp_path: Path) -> None:
    async with scene(tmp_path, choose_username=False) as made:
        answer = await made.log_in()
        callback = f"/_starling/client/oauth/callback/corp?code=code-1&state={made.provider.asked[0]['state']}"
        assert answer.status == 302
        stranger = Browser(made.server.client)
        lost = await stranger.open(f"{callback}&iss={made.provider.url}")
        assert lost.status == 400
        assert b"begun in another browser" in lost.body


async def test_an_answer_in_the_name_of_another_issuer_is_refused(tmp_path: Path) -> None:
    async with scene(tmp_path, choose_username=False) as made:
        started = await made.server.client.get(f"{REDIRECT}/corp?redirectUrl={quote(APP, safe='')}")
        made.browser._keep(started)
        (cookie,) = made.browser.cookies
        state = dict(part.split("=", 1) for part in started.headers["location"].partition("?")[2].split("&"))["state"]
        assert cookie.endswith(state[:12])
        callback = f"{BASEURL}/_starling/client/oauth/callback/corp?code=x&state={state}"
        answer = await made.browser.open(f"{callback}&iss=https://evil.example")
        assert answer.status == 502


async def test_a_person_who_says_no_is_not_logged_in(tmp_path: Path) -> None:
    async with scene(tmp_path) as made:
        made.provider.refuse = True
        answer = await made.log_in()
        assert (answer.status, b"Corporation did not log you in" in answer.body) == (403, True)


async def test_a_name_that_is_taken_or_impossible_is_asked_for_again(tmp_path: Path) -> None:
    async with scene(tmp_path) as made:
        await made.server.user("alice.liddell")
        page = await made.log_in()
        assert b'value=""' in page.body
        for name, reason in (("alice.liddell", b"taken"), ("böse", b"characters"), ("", b"Choose a user name")):
            page = await made.browser.submit(page, username=name)
            assert (page.status, reason in page.body) == (400, True)
        answer = await made.browser.submit(page, username="Wonder")
        assert (await made.session_of(answer))["user_id"] == "@wonder:example.org"


async def test_who_may_come_in(tmp_path: Path) -> None:
    async with scene(tmp_path, choose_username=False, required_claims={"groups": ["staff"]}) as made:
        assert (await made.log_in()).status == 403
        made.provider.claims["groups"] = ["guests", "staff"]
        answer = await made.log_in()
        assert answer.status == 302
        await made.server.homeserver.accounts.accounts.deactivate("@alice.liddell:example.org")
        assert b"has been deactivated" in (await made.log_in()).body


async def test_a_server_may_open_no_accounts_but_link_those_it_has(tmp_path: Path) -> None:
    async with scene(tmp_path, new_accounts=False, link_existing_accounts=True) as made:
        assert (await made.log_in()).status == 403
        await made.server.user("alice.liddell")
        assert (await made.session_of(await made.log_in()))["user_id"] == "@alice.liddell:example.org"
        made.provider.claims["preferred_username"] = "renamed"
        assert (await made.session_of(await made.log_in()))["user_id"] == "@alice.liddell:example.org"


async def test_github_speaks_its_own_dialect(tmp_path: Path) -> None:
    async with scene(tmp_path, GitHub(), choose_username=False) as made:
        answer = await made.log_in(provider="")
        assert (await made.session_of(answer))["user_id"] == "@octo-cat:example.org"
        made.provider.user["login"] = "renamed"
        assert (await made.session_of(await made.log_in(provider="")))["user_id"] == "@octo-cat:example.org"
        made.provider.error = "bad_verification_code"
        assert (await made.log_in(provider="")).status == 502


async def test_a_provider_that_is_down_does_not_keep_the_server_from_starting(tmp_path: Path) -> None:
    providers = [{"id": "down", "client_id": "c", "issuer": "http://127.0.0.1:9"}]
    async with server_with(tmp_path, {"name": "oauth_login", "settings": {"providers": providers}}) as server:
        answer = await server.client.get(f"{REDIRECT}/down?redirectUrl=https://app.example.org/")
        assert answer.status == 502


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Alice Liddell", "alice.liddell"),
        ("jürgen@example.org", "jurgen"),
        ("_bridge_", "bridge"),
        ("李明", ""),
        ("a!!b", "a-b"),
        ("x" * 100, "x" * 64),
    ],
)
def test_user_names_are_made_of_what_providers_call_people(text: str, name: str) -> None:
    assert suggested_username(text) == name
