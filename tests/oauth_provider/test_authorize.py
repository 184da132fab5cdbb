"""The authorization request and its pages: answers and refusals, cookies, CSRF, sign-up, single sign-on."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from identity_providers import CLIENT_ID, CLIENT_SECRET, OpenIdProvider
from oauth_kit import ACCOUNT, API, BASEURL, DEVICE, METADATA, OAUTH, PASSWORD, WEB_METADATA, App, Browser, callback_of
from oauth_provider.conftest import SECTIONS, Scene, scene_in
from plugin_kit import loopback, server_with

from homeserver.storage import registration_tokens
from homeserver.testing import Answer


@pytest.fixture
async def app(lite: Scene) -> App:
    await lite.person()
    await lite.log_in()
    return await lite.app()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_mode": "form_post"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": API}, "invalid_scope"),
        ({"scope": f"{DEVICE}A"}, "invalid_scope"),
        ({"scope": f"{API} {DEVICE}A {DEVICE}B"}, "invalid_scope"),
        ({"scope": f"{API} {DEVICE}"}, "invalid_scope"),
        ({"scope": f'{API} {DEVICE}A"'}, "invalid_scope"),
        ({"scope": f"{API} {DEVICE}{'x' * 300}"}, "invalid_scope"),
        ({"prompt": "none"}, "interaction_required"),
        ({"prompt": "unheard-of"}, "invalid_request"),
        ({"request": "jwt"}, "request_not_supported"),
        ({"request_uri": "https://x/"}, "request_uri_not_supported"),
        ({"state": "x" * 1001}, "invalid_request"),
    ],
)
async def test_what_the_client_has_to_mend(lite: Scene, app: App, changes: dict[str, str | None], error: str) -> None:
    back = callback_of(await lite.browser.open(app.authorization_url(**changes)))
    assert back["error"] == error
    assert back["state"] == changes.get("state", "a state")
    assert back["error_description"]
    assert "code" not in back


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "nobody"},
        {"client_id": None},
        {"redirect_uri": None},
        {"redirect_uri": "io.element:/other"},
        {"redirect_uri": "https://evil.example/"},
    ],
)
async def test_nobody_is_sent_where_no_client_registered(lite: Scene, app: App, changes: dict[str, str | None]) -> None:
    answer = await lite.browser.open(app.authorization_url(**changes))
    assert answer.status == 400
    assert "location" not in answer.headers
    assert answer.headers["content-type"].startswith("text/html")


async def test_repeated_parameters(lite: Scene, app: App) -> None:
    back = callback_of(await lite.browser.open(app.authorization_url() + "&state=again"))
    assert back["error"] == "invalid_request"
    twice = await lite.browser.open(app.authorization_url() + "&redirect_uri=io.element%3A%2Fcallback")
    assert twice.status == 400


async def test_answers_in_query_and_fragment(lite: Scene, app: App) -> None:
    web = App(lite.server.client, redirect_uri=WEB_METADATA["redirect_uris"][0])
    await web.register(WEB_METADATA)
    await lite.browser.open(web.authorization_url(response_mode="fragment"))
    answer = await lite.browser.submit(decision="allow")
    base, _, fragment = answer.headers["location"].partition("#")
    assert base == web.redirect_uri
    assert parse_qs(fragment)["state"] == ["a state"]
    assert (await web.redeem(parse_qs(fragment)["code"][0])).status == 200
    await lite.browser.open(web.authorization_url(response_mode="query"))
    parts = urlsplit((await lite.browser.submit(decision="allow")).headers["location"])
    assert parse_qs(parts.query)["no_universal_links"] == ["true"]
    assert "code" in parse_qs(parts.query)


async def test_any_port_on_the_loopback_interface(lite: Scene, app: App) -> None:
    native = App(lite.server.client, redirect_uri="http://127.0.0.1:45678/callback")
    await native.register({**METADATA, "redirect_uris": ["http://127.0.0.1/callback"]})
    await lite.browser.open(native.authorization_url())
    answer = await lite.browser.submit(decision="allow")
    assert answer.headers["location"].startswith("http://127.0.0.1:45678/callback?")
    wrong = await lite.browser.open(native.authorization_url(redirect_uri="http://127.0.0.1:45678/other"))
    assert wrong.status == 400


async def test_the_user_may_refuse(lite: Scene, app: App) -> None:
    await lite.browser.open(app.authorization_url())
    back = callback_of(await lite.browser.submit(decision="deny"))
    assert (back["error"], back["state"]) == ("access_denied", "a state")


async def test_prompt_login_asks_again(lite: Scene, app: App) -> None:
    await lite.browser.open(app.authorization_url(prompt="login"))
    assert "confirm that it is you" in lite.browser.text
    await lite.browser.submit(username="alice", password=PASSWORD)
    assert "Continue to Element X?" in lite.browser.text


async def test_another_account(lite: Scene, app: App) -> None:
    await lite.person("bob")
    await lite.browser.open(app.authorization_url())
    await lite.browser.submit(1)
    await lite.browser.submit(username="bob", password=PASSWORD)
    assert "@bob:example.org" in lite.browser.text
    back = callback_of(await lite.browser.submit(decision="allow"))
    await app.redeem(back["code"])
    assert (await app.whoami()).json["user_id"] == "@bob:example.org"


async def test_the_consent_page_speaks_the_clients_languages(lite: Scene, app: App) -> None:
    await lite.browser.open(app.authorization_url(), **{"accept-language": "de-CH,de;q=0.9,en;q=0.5"})
    assert "Element X auf Deutsch" in lite.browser.text
    assert "https://element.io/terms" in lite.browser.links()
    evil = await lite.app({**METADATA, "client_name": "<script>alert(1)</script>"})
    await lite.browser.open(evil.authorization_url())
    assert b"<script>" not in lite.browser.page.body


# Cookies and forms


async def test_the_cookie(lite: Scene, app: App) -> None:
    cookie = lite.browser.set_cookies[-1]
    assert cookie.startswith("__Host-starling_session=")
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "secure", "samesite=lax", "path=/"} <= attributes
    assert not any(part.startswith("domain") for part in attributes)


async def test_the_cookie_without_https(tmp_path: Path) -> None:
    section = {"server_name": "example.org", "public_baseurl": "http://localhost:8008"}
    async for lite in scene_in(tmp_path, server=section):
        lite.browser = Browser(lite.server.client, "http://localhost:8008")
        await lite.person()
        await lite.log_in()
        cookie = lite.browser.set_cookies[-1]
        assert cookie.startswith("starling_session=")
        assert "secure" not in cookie.lower()
        assert "httponly" in cookie.lower()


async def test_the_cookie_changes_with_the_login(lite: Scene) -> None:
    await lite.person()
    await lite.browser.open(ACCOUNT)
    before = dict(lite.browser.cookies)
    await lite.browser.submit(username="alice", password=PASSWORD)
    assert lite.browser.cookies != before
    await lite.advance(15 * 86_400)
    await lite.browser.open(ACCOUNT)
    assert "Log in to example.org" in lite.browser.text


def assert_strict(page: Answer) -> None:
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self'" in policy
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["x-frame-options"] == "DENY"
    text = page.body.decode()
    assert not re.search(r"<script|<img|<link|src=|style=\"", text)
    assert 'name="viewport"' in text
    assert "prefers-color-scheme:dark" in text


async def test_the_pages_are_strict(lite: Scene, app: App) -> None:
    assert_strict(await lite.browser.open(app.authorization_url()))
    assert "form-action 'self' io.element:;" in lite.browser.page.headers["content-security-policy"]
    for path in (ACCOUNT, f"{ACCOUNT}?action=org.matrix.devices_list", f"{OAUTH}/link", f"{OAUTH}/sign-up"):
        assert_strict(await lite.browser.open(path))
    assert_strict(await Browser(lite.server.client).open(f"{OAUTH}/login"))


@pytest.mark.parametrize("path", ["login", "sign-up", "authorize", "link", "logout", "continue", "account"])
@pytest.mark.parametrize("csrf", [None, "wrong", "ä"])
async def test_forms_without_their_token(lite: Scene, app: App, path: str, csrf: str | None) -> None:
    url = ACCOUNT if path == "account" else f"{OAUTH}/{path}"
    fields = {"decision": "allow", "action": "org.matrix.profile"} | ({} if csrf is None else {"csrf": csrf})
    answer = await lite.browser.post(url, fields)
    assert answer.status == 403
    assert "set-cookie" not in answer.headers


async def test_the_token_of_another_browser(lite: Scene, app: App) -> None:
    other = Browser(lite.server.client)
    await other.open(f"{OAUTH}/login")
    _, hidden = other.forms()[0]
    answer = await lite.browser.post(f"{OAUTH}/login", {**hidden, "username": "alice", "password": PASSWORD})
    assert answer.status == 403


@pytest.mark.parametrize(
    "target",
    ["https://evil.example/", "//evil.example/", "/_starling/client/oauth2/\\..", "/_matrix/client", "x" * 4000],
)
async def test_the_login_leads_nowhere_else(lite: Scene, target: str) -> None:
    await lite.person()
    await lite.browser.open(f"{OAUTH}/login?next={target}")
    assert lite.browser.forms()[0][1]["next"] == ACCOUNT


async def test_wrong_passwords(tmp_path: Path) -> None:
    async for lite in scene_in(tmp_path, rate_limits={"enabled": True}):
        await lite.person()
        await lite.browser.open(ACCOUNT)
        for _ in range(8):
            assert (await lite.browser.submit(username="alice", password="wrong")).status == 403
            assert "user name or the password is wrong" in lite.browser.text
        assert (await lite.browser.submit(username="alice", password=PASSWORD)).status == 429
        assert "too often" in lite.browser.text


async def test_a_deactivated_or_locked_account(lite: Scene) -> None:
    await lite.person()
    await lite.server.homeserver.accounts.accounts.set_locked("@alice:example.org", True)
    await lite.browser.open(ACCOUNT)
    assert (await lite.browser.submit(username="@alice:example.org", password=PASSWORD)).status == 401
    assert "locked" in lite.browser.text


# Sign-up


async def test_sign_up_with_a_token_and_terms(tmp_path: Path) -> None:
    registration = {"mode": "token", "terms_url": "https://example.org/terms"}
    async for lite in scene_in(tmp_path, registration=registration):
        await lite.server.homeserver.database.write(registration_tokens.create_token, "once", 1, None, 0)
        await lite.browser.open(f"{OAUTH}/sign-up")
        assert "https://example.org/terms" in lite.browser.links()
        new = {"username": "newcomer", "password": PASSWORD}
        assert (await lite.browser.submit(**new, token="once")).status == 400
        assert "agree to the terms" in lite.browser.text
        assert (await lite.browser.submit(**new, token="wrong", terms="yes")).status == 403
        assert "token is not valid" in lite.browser.text
        await lite.browser.submit(**new, token="once", terms="yes")
        assert "@newcomer:example.org" in lite.browser.text
        other = Browser(lite.server.client)
        await other.open(f"{OAUTH}/sign-up")
        assert (await other.submit(username="another", password=PASSWORD, token="once", terms="yes")).status == 403


async def test_sign_up_where_registration_is_closed(tmp_path: Path) -> None:
    async for lite in scene_in(tmp_path, registration={"mode": "closed"}):
        metadata = (await lite.server.client.get("/_matrix/client/v1/auth_metadata")).json
        assert "prompt_values_supported" not in metadata
        assert (await lite.browser.open(f"{OAUTH}/sign-up")).status == 403
        await lite.browser.open(f"{OAUTH}/login")
        hidden = lite.browser.forms()[0][1]
        posted = await lite.browser.post(f"{OAUTH}/sign-up", {**hidden, "username": "x", "password": PASSWORD})
        assert posted.status == 403


async def test_names_and_passwords_that_cannot_be(lite: Scene) -> None:
    await lite.person()
    await lite.browser.open(f"{OAUTH}/sign-up")
    assert (await lite.browser.submit(username="alice", password=PASSWORD)).status == 400
    assert "taken" in lite.browser.text
    assert (await lite.browser.submit(username="bob", password="short")).status == 400
    assert "at least 8 characters" in lite.browser.text


# Single sign-on


async def test_clients_of_the_legacy_api_that_are_aware_of_it(lite: Scene) -> None:
    await lite.person()
    flows = (await lite.server.client.get("/_matrix/client/v3/login")).json["flows"]
    (sso,) = [flow for flow in flows if flow["type"] == "m.login.sso"]
    assert sso["oauth_aware_preferred"] is True
    assert sso["org.matrix.msc3824.delegated_oidc_compatibility"] is True
    redirect = "/_matrix/client/v3/login/sso/redirect"
    first = await lite.server.client.get(f"{redirect}?redirectUrl=https%3A%2F%2Fclient.example%2F%3Fa%3Db")
    assert first.status == 302
    await lite.browser.open(first.headers["location"])
    await lite.browser.submit(username="alice", password=PASSWORD)
    assert "https://client.example" in lite.browser.text
    assert_strict(lite.browser.page)
    gone = await lite.browser.submit()
    back = callback_of(gone)
    assert back["a"] == "b"
    login = {"type": "m.login.token", "token": back["loginToken"]}
    session = await lite.server.client.post("/_matrix/client/v3/login", login)
    assert session.json["user_id"] == "@alice:example.org"
    new = await Browser(lite.server.client).open(f"{redirect}?redirectUrl=app%3A%2F&org.matrix.msc3824.action=register")
    assert "Create an account" in new.body.decode()
    assert (await lite.server.client.get(f"{redirect}?redirectUrl=javascript%3Ax")).status == 400
    assert (await lite.server.client.get(f"{OAUTH}/continue?redirectUrl=data%3Ax")).status == 400


async def test_a_target_cannot_loosen_the_policy(lite: Scene, app: App) -> None:
    await lite.browser.open(f"{OAUTH}/continue?redirectUrl=https%3A%2F%2Fa%3Bscript-src%2F")
    assert "script-src" not in lite.browser.page.headers["content-security-policy"]


async def test_login_through_an_identity_provider(tmp_path: Path) -> None:
    provider = OpenIdProvider()
    async with loopback(provider.handlers()) as provider.url:
        one = {"id": "corp", "name": "Corporation", "issuer": provider.url, "choose_username": False}
        plugin = {"providers": [{**one, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}]}
        server_section = {**SECTIONS["server"], "data_directory": str(tmp_path)}
        entry = {"name": "oauth_login", "settings": plugin}
        async with server_with(tmp_path, entry, server=server_section) as server:
            browser = _Traveller(server.client)
            app = await App(server.client).register()
            await browser.open(app.authorization_url())
            (button,) = [url for url in browser.links() if "/oauth2/sso/corp" in url]
            await browser.open(button)
            assert "Continue to Element X?" in browser.text, browser.text
            assert "@alice.liddell:example.org" in browser.text
            back = callback_of(await browser.submit(decision="allow"))
            await app.redeem(back["code"])
            assert (await app.whoami()).json["user_id"] == "@alice.liddell:example.org"
            # A login begun in another browser does not log this one in.
            stranger = _Traveller(server.client)
            token = await server.homeserver.accounts.login_tokens.issue("@alice.liddell:example.org")
            answer = await stranger.open(f"{BASEURL}{OAUTH}/sso?check=wrong&loginToken={token}")
            assert answer.status == 403


class _Traveller(Browser):
    """A browser that follows redirects to identity providers on loopback as well."""

    async def _follow(self, answer: Answer) -> Answer:
        import aiohttp

        while answer.status in (302, 303):
            url = answer.headers["location"]
            if url.startswith(self.base):
                answer = await self._request("GET", url, None, {})
            elif url.startswith("http://127.0.0.1"):
                async with aiohttp.ClientSession() as session, session.get(url, allow_redirects=False) as response:
                    headers = {name.lower(): value for name, value in response.headers.items()}
                    answer = Answer(response.status, headers, await response.read())
            else:
                break
        self.page = answer
        return answer
