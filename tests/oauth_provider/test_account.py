"""The account pages: every action, what asks for another login, and the reset of cross-signing from client to page."""

from __future__ import annotations

import pytest
from encryption_app import cross_signing_key, cross_signing_keys_of, cross_signing_pair
from oauth_kit import ACCOUNT, BASEURL, PASSWORD, App, Browser
from oauth_provider.conftest import Scene

from homeserver.services.accounts.sessions import ClientDetails
from homeserver.testing import AsgiClient

UPLOAD = "/_matrix/client/v3/keys/device_signing/upload"
ALICE = "@alice:example.org"


async def device(scene: Scene, device_id: str) -> AsgiClient:
    session = await scene.server.homeserver.accounts.sessions.begin(
        ALICE, ClientDetails(device_id, f"Phone {device_id}", address="192.0.2.7", user_agent="An app")
    )
    return scene.server.client.with_token(session.credentials.access_token)


async def logged_in(scene: Scene) -> None:
    await scene.person()
    await scene.log_in()


async def test_the_list_of_devices_and_their_end(scene: Scene) -> None:
    await logged_in(scene)
    one, two = await device(scene, "ONE"), await device(scene, "TWO")
    await scene.browser.open(f"{ACCOUNT}?action=org.matrix.devices_list")
    (link,) = [url for url in scene.browser.links() if url.endswith("device_id=ONE")]
    await scene.browser.open(link)
    assert all(text in scene.browser.text for text in ("Phone ONE", "192.0.2.7", "An app"))
    await scene.browser.open(next(url for url in scene.browser.links() if "device_delete" in url))
    assert "Log this device out?" in scene.browser.text
    assert (await one.get("/_matrix/client/v3/account/whoami")).status == 200  # nothing before it is confirmed
    await scene.browser.submit()
    assert (await one.get("/_matrix/client/v3/account/whoami")).status == 401
    assert (await two.get("/_matrix/client/v3/account/whoami")).status == 200
    assert (await scene.browser.open(f"{ACCOUNT}?action=org.matrix.device_view&device_id=ONE")).status == 404


@pytest.mark.parametrize(
    ("action", "title"),
    [
        ("org.matrix.profile", "Your profile"),
        ("profile", "Your profile"),
        ("sessions_list", "Your devices"),
        ("org.matrix.sessions_list", "Your devices"),
        ("session_view&device_id=ONE", "Phone ONE"),
        ("org.matrix.session_end&device_id=ONE", "Log this device out?"),
        ("org.matrix.account_deactivate", "Deactivate your account?"),
        ("org.matrix.cross_signing_reset", "Reset your digital identity?"),
        ("unheard.of", "Your account"),
    ],
)
async def test_deep_links(lite: Scene, action: str, title: str) -> None:
    await lite.person()
    await device(lite, "ONE")
    # The login comes first, and leads on to what was asked for.
    await lite.browser.open(f"{ACCOUNT}?action={action}")
    await lite.browser.submit(username="alice", password=PASSWORD)
    assert f"<h1>{title}</h1>" in lite.browser.text


@pytest.mark.parametrize("action", ["device_delete&device_id=ONE", "account_deactivate", "cross_signing_reset"])
async def test_what_cannot_be_undone_asks_for_another_login(lite: Scene, action: str) -> None:
    await logged_in(lite)
    await device(lite, "ONE")
    await lite.browser.open(f"{ACCOUNT}?action=org.matrix.{action}")
    page = lite.browser.page
    await lite.advance(601)
    # Neither the form that was open nor the page do any more.
    await lite.browser.submit(sure="yes")
    assert "confirm that it is you" in lite.browser.text
    await lite.browser.open(f"{ACCOUNT}?action=org.matrix.{action}")
    assert "confirm that it is you" in lite.browser.text
    assert len(await lite.server.homeserver.accounts.devices.list_of(ALICE)) == 1
    await lite.browser.submit(username="alice", password=PASSWORD)
    assert lite.browser.page.body.count(b"<h1>") == page.body.count(b"<h1>")
    assert lite.browser.forms()[0][1]["action"] == f"org.matrix.{action.partition('&')[0]}"


async def test_what_is_no_text(scene: Scene) -> None:
    await logged_in(scene)
    app = await scene.app()
    assert (await scene.browser.open(f"{ACCOUNT}?action=org.matrix.device_view&device_id=%00")).status == 400
    assert (await scene.browser.open(app.authorization_url(client_id="nul\x00"))).status == 400
    await scene.browser.open(app.authorization_url())
    assert (await scene.browser.submit(request="client_id=%00", decision="allow")).status == 400


async def test_the_display_name(lite: Scene) -> None:
    await logged_in(lite)
    await lite.browser.open(f"{ACCOUNT}?action=org.matrix.profile")
    await lite.browser.submit(displayname="Alice <3")
    profile = await lite.server.homeserver.profiles.fetch(ALICE)
    assert profile["displayname"] == "Alice <3"
    await lite.browser.open(f"{ACCOUNT}?action=org.matrix.profile")
    assert b"Alice &lt;3" in lite.browser.page.body


async def test_a_new_password(scene: Scene) -> None:
    await logged_in(scene)
    phone = await device(scene, "ONE")
    other = Browser(scene.server.client)
    await other.open(ACCOUNT)
    await other.submit(username="alice", password=PASSWORD)
    await scene.browser.open(f"{ACCOUNT}?action=org.starling.password")
    wrong = await scene.browser.submit(old_password="wrong", new_password="another password")
    assert wrong.status == 403
    weak = await scene.browser.submit(old_password=PASSWORD, new_password="short")
    assert weak.status == 400
    done = await scene.browser.submit(old_password=PASSWORD, new_password="another password", log_out="yes")
    assert done.status == 200
    assert (await phone.get("/_matrix/client/v3/account/whoami")).status == 401
    # Other browsers are logged out, this one is not.
    await other.open(ACCOUNT)
    assert "Log in to" in other.text
    await scene.browser.open(ACCOUNT)
    assert "Your account" in scene.browser.text
    await other.submit(username="alice", password="another password")
    assert "Your account" in other.text


async def test_the_end_of_an_account(scene: Scene) -> None:
    await logged_in(scene)
    app = await scene.authorised(await scene.app())
    await scene.browser.open(f"{ACCOUNT}?action=org.matrix.account_deactivate")
    await scene.browser.submit()
    assert "Deactivate your account?" in scene.browser.text
    assert (await app.whoami()).status == 200
    await scene.browser.submit(sure="yes", erase="yes")
    assert "Good-bye" in scene.browser.text
    assert (await app.whoami()).status == 401
    assert scene.browser.cookies == {}
    user = await scene.server.homeserver.accounts.accounts.find(ALICE)
    assert user is not None
    assert user.deactivated


async def test_logging_the_browser_out(lite: Scene) -> None:
    await logged_in(lite)
    kept = dict(lite.browser.cookies)
    await lite.browser.submit()
    assert "Log in to" in lite.browser.text
    lite.browser.cookies = kept
    await lite.browser.open(ACCOUNT)
    assert "Log in to" in lite.browser.text


async def test_an_unknown_deed(lite: Scene) -> None:
    await logged_in(lite)
    _, hidden = lite.browser.forms()[0]
    assert (await lite.browser.post(ACCOUNT, {**hidden, "action": "org.example.unheard"})).status == 404


async def test_log_out_everywhere_is_meant(lite: Scene) -> None:
    await logged_in(lite)
    phone = await device(lite, "ONE")
    assert (await phone.post("/_matrix/client/v3/logout/all", {})).status == 200
    await lite.browser.open(ACCOUNT)
    assert "Log in to" in lite.browser.text


# Cross-signing


async def app_with_keys(scene: Scene) -> tuple[App, AsgiClient]:
    await logged_in(scene)
    app = await scene.authorised(await scene.app())
    client = scene.server.client.with_token(app.tokens["access_token"])
    assert (await client.post(UPLOAD, cross_signing_keys_of(ALICE))).status == 200
    return app, client


def new_keys(name: str) -> dict[str, object]:
    master = cross_signing_pair(name)
    return {
        "master_key": cross_signing_key(ALICE, "master", master),
        "self_signing_key": cross_signing_key(ALICE, "self_signing", cross_signing_pair(f"{name} self"), by=master),
    }


async def approve(scene: Scene, url: str) -> None:
    await scene.browser.open(url)
    await scene.browser.submit()
    assert "Go back to your app" in scene.browser.text


async def test_the_reset_of_cross_signing(scene: Scene) -> None:
    _, client = await app_with_keys(scene)
    keys = new_keys("second")
    first = await client.post(UPLOAD, keys)
    assert first.status == 401
    assert first.json["flows"] == [{"stages": ["m.oauth"]}, {"stages": ["org.matrix.cross_signing_reset"]}]
    url = first.json["params"]["m.oauth"]["url"]
    assert url == f"{BASEURL}{ACCOUNT}?action=org.matrix.cross_signing_reset"
    again = {**keys, "auth": {"session": first.json["session"]}}
    early = await client.post(UPLOAD, again)
    assert (early.status, early.json["session"]) == (401, first.json["session"])
    await approve(scene, url)
    assert (await client.post(UPLOAD, again)).status == 200
    # It was for once.
    third = new_keys("third")
    assert (await client.post(UPLOAD, third)).status == 401
    assert (await client.post(UPLOAD, {**third, "auth": {"session": first.json["session"]}})).status in (401, 403)


async def test_clients_that_only_try_again_and_approvals_that_expire(lite: Scene) -> None:
    app, client = await app_with_keys(lite)
    keys = new_keys("second")
    url = (await client.post(UPLOAD, keys)).json["params"]["org.matrix.cross_signing_reset"]["url"]
    await approve(lite, url)
    await lite.advance(601)
    await app.refresh()
    client = lite.server.client.with_token(app.tokens["access_token"])
    assert (await client.post(UPLOAD, keys)).status == 401
    await lite.browser.open(url)
    await lite.browser.submit(username="alice", password=PASSWORD)
    await lite.browser.submit()
    assert (await client.post(UPLOAD, keys)).status == 200
    assert (await client.post(UPLOAD, new_keys("third"))).status == 401


async def test_sessions_of_the_legacy_api_confirm_with_the_password(lite: Scene) -> None:
    await app_with_keys(lite)
    legacy = await device(lite, "LEGACY")
    answer = await legacy.post(UPLOAD, new_keys("second"))
    assert answer.json["flows"] == [{"stages": ["m.login.password"]}]
