"""The sequences Element X performs: first login, sign-up, refresh, logout, and logging in a new device by its code."""

from __future__ import annotations

import pytest
from oauth_kit import API, BASEURL, DEVICE, MSC_API, MSC_DEVICE, OAUTH, PASSWORD, App, callback_of
from oauth_provider.conftest import Scene

CLIENT = "/_matrix/client"


async def discover(scene: Scene) -> dict[str, str]:
    """As matrix-rust-sdk does: the stable endpoint, whose metadata has everything else."""
    answer = await scene.server.client.get(f"{CLIENT}/v1/auth_metadata")
    assert answer.status == 200
    assert "max-age" in answer.headers["cache-control"]
    return dict(answer.json)


async def test_from_discovery_to_logout(scene: Scene) -> None:
    metadata = await discover(scene)
    assert metadata["issuer"] == f"{BASEURL}/"
    assert metadata["authorization_endpoint"] == f"{BASEURL}{OAUTH}/authorize"
    assert metadata["registration_endpoint"] == f"{BASEURL}{OAUTH}/register"
    user_id = await scene.person()
    app = await scene.app()
    # The browser: nobody is logged in, so it shows the login page, then the consent page, then leaves for the app.
    page = await scene.browser.open(app.authorization_url())
    assert (page.status, "Log in to example.org" in scene.browser.text) == (200, True)
    page = await scene.browser.submit(username="alice", password=PASSWORD)
    assert page.status == 200
    assert all(text in scene.browser.text for text in ("Continue to Element X?", user_id, "ELEMENTX01", "element.io"))
    answer = await scene.browser.submit(decision="allow")
    assert answer.headers["location"].startswith("io.element:/callback?")
    back = callback_of(answer)
    assert (back["state"], back["iss"]) == ("a state", f"{BASEURL}/")
    # The app.
    token = await app.redeem(back["code"])
    assert token.status == 200
    assert token.headers["cache-control"] == "no-store"
    assert token.json["token_type"] == "Bearer"
    assert token.json["expires_in"] == 300
    assert token.json["scope"] == f"{API} {DEVICE}ELEMENTX01"
    assert (await app.whoami()).json == {"user_id": user_id, "device_id": "ELEMENTX01", "is_guest": False}
    alice = scene.server.client.with_token(token.json["access_token"])
    assert (await alice.get(f"{CLIENT}/v3/sync?timeout=0")).status == 200
    (device,) = (await alice.get(f"{CLIENT}/v3/devices")).json["devices"]
    assert device["display_name"] == "Element X"
    # Refresh, once the access token has expired.
    await scene.advance(301)
    expired = await app.whoami()
    assert (expired.status, expired.json["errcode"], expired.json["soft_logout"]) == (401, "M_UNKNOWN_TOKEN", True)
    old = dict(app.tokens)
    assert (await app.refresh()).status == 200
    assert app.tokens["refresh_token"] != old["refresh_token"]
    assert app.tokens["scope"] == old["scope"]
    assert (await app.whoami()).json["device_id"] == "ELEMENTX01"
    # Logout is revocation.
    revoked = await app.form("revoke", token=app.tokens["access_token"], client_id=app.client_id)
    assert (revoked.status, revoked.json) == (200, {})
    gone = await app.whoami()
    assert (gone.status, gone.json.get("soft_logout")) == (401, None)
    assert (await app.refresh()).json["error"] == "invalid_grant"
    assert await scene.server.homeserver.accounts.devices.list_of(user_id) == []


async def test_the_names_of_msc2967(scene: Scene) -> None:
    await scene.person()
    await scene.log_in()
    app = await scene.authorised(await scene.app(), scope=f"openid {MSC_API} {MSC_DEVICE}OLDNAMES")
    assert app.tokens["scope"] == f"{MSC_API} {MSC_DEVICE}OLDNAMES"
    assert (await app.whoami()).json["device_id"] == "OLDNAMES"


async def test_sign_up_with_prompt_create(scene: Scene) -> None:
    assert (await discover(scene))["prompt_values_supported"] == ["create"]
    app = await scene.app()
    await scene.browser.open(app.authorization_url(prompt="create"))
    assert "Create an account on example.org" in scene.browser.text
    refused = await scene.browser.submit(username="New Comer", password=PASSWORD)
    assert refused.status == 400
    assert "A user name may hold only" in scene.browser.text
    await scene.browser.submit(username="newcomer", password=PASSWORD)
    assert "Continue to Element X?" in scene.browser.text
    back = callback_of(await scene.browser.submit(decision="allow"))
    await app.redeem(back["code"])
    assert (await app.whoami()).json["user_id"] == "@newcomer:example.org"


async def test_a_new_device_logged_in_by_its_code(scene: Scene) -> None:
    """QR login: the new device shows a code, the old one opens the page for it in a browser."""
    metadata = await discover(scene)
    assert metadata["device_authorization_endpoint"] == f"{BASEURL}{OAUTH}/device"
    user_id = await scene.person()
    app = await scene.app()
    begun = (await app.form("device", client_id=app.client_id, scope=f"{API} {DEVICE}NEWDEVICE")).json
    assert (begun["expires_in"], begun["interval"]) == (900, 5)
    assert begun["verification_uri"] == f"{BASEURL}{OAUTH}/link"
    assert (await app.poll(begun["device_code"])).json["error"] == "authorization_pending"
    await scene.browser.open(begun["verification_uri_complete"])
    await scene.browser.submit(username="alice", password=PASSWORD)
    assert all(text in scene.browser.text for text in (begun["user_code"], "Element X", "NEWDEVICE", user_id))
    await scene.advance(5)
    assert (await app.poll(begun["device_code"])).json["error"] == "authorization_pending"
    await scene.browser.submit(decision="allow")
    assert "being logged in" in scene.browser.text
    await scene.advance(5)
    assert (await app.poll(begun["device_code"])).status == 200
    assert (await app.whoami()).json == {"user_id": user_id, "device_id": "NEWDEVICE", "is_guest": False}
    assert (await app.refresh()).status == 200
    # The code is used up.
    assert (await app.poll(begun["device_code"])).json["error"] == "invalid_grant"


async def test_the_same_device_again_ends_its_old_tokens(scene: Scene) -> None:
    await scene.person()
    await scene.log_in()
    first = await scene.authorised(await scene.app())
    second = await scene.authorised(App(scene.server.client, first.client_id))
    assert (await first.whoami()).status == 401
    assert (await second.whoami()).status == 200


@pytest.mark.parametrize("path", ["unstable/org.matrix.msc2965/auth_metadata", "v1/auth_metadata"])
async def test_metadata_for_older_and_newer_clients(lite: Scene, path: str) -> None:
    metadata = (await lite.server.client.get(f"{CLIENT}/{path}")).json
    actions = metadata["account_management_actions_supported"]
    assert "org.matrix.devices_list" in actions
    assert ("org.matrix.sessions_list" in actions) == path.startswith("unstable")
    assert metadata["token_endpoint_auth_methods_supported"] == ["none"]
    assert "introspection_endpoint" not in metadata


async def test_discovery_as_other_standards_have_it(lite: Scene) -> None:
    get = lite.server.client.get
    older = (await get(f"{CLIENT}/unstable/org.matrix.msc2965/auth_metadata")).json
    for path in ("openid-configuration", "oauth-authorization-server"):
        assert (await get(f"/.well-known/{path}")).json == older
    assert (await get(f"{CLIENT}/unstable/org.matrix.msc2965/auth_issuer")).json == {"issuer": f"{BASEURL}/"}
