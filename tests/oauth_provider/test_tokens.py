"""Tokens: every refusal of the RFCs, what is used twice, revocation, and the codes of new devices."""

from __future__ import annotations

from pathlib import Path

import pytest
from oauth_kit import API, DEVICE, METADATA, OAUTH, PASSWORD, WEB_METADATA, App, callback_of
from oauth_provider.conftest import Scene, scene_in

REFRESH = "/_matrix/client/v3/refresh"


async def code_for(scene: Scene, app: App) -> str:
    await scene.browser.open(app.authorization_url())
    return callback_of(await scene.browser.submit(decision="allow"))["code"]


@pytest.fixture
async def app(lite: Scene) -> App:
    """A client; alice is logged in in the browser."""
    await lite.person()
    await lite.log_in()
    return await lite.app()


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"grant_type": None}, 400, "invalid_request"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"client_id": None}, 401, "invalid_client"),
        ({"client_id": "nobody"}, 401, "invalid_client"),
        ({"code": None}, 400, "invalid_request"),
        ({"code": "wrong"}, 400, "invalid_grant"),
        ({"code": "nul\x00"}, 400, "invalid_request"),
        ({"redirect_uri": None}, 400, "invalid_grant"),
        ({"redirect_uri": "io.element:/other"}, 400, "invalid_grant"),
        ({"code_verifier": None}, 400, "invalid_request"),
        ({"code_verifier": "too short"}, 400, "invalid_request"),
        ({"code_verifier": "x" * 129}, 400, "invalid_request"),
        ({"code_verifier": "x" * 43}, 400, "invalid_grant"),
    ],
)
async def test_codes_that_are_not_redeemed(
    lite: Scene, app: App, changes: dict[str, str | None], status: int, error: str
) -> None:
    answer = await app.redeem(await code_for(lite, app), **changes)
    assert (answer.status, answer.json["error"]) == (status, error)
    assert answer.headers["cache-control"] == "no-store"


async def test_a_code_is_for_one_client_and_a_minute(lite: Scene, app: App) -> None:
    other = await lite.app({**METADATA, "client_name": "Another"})
    stolen = await other.redeem(await code_for(lite, app), code_verifier=app.verifier)
    assert stolen.json["error"] == "invalid_grant"
    code = await code_for(lite, app)
    await lite.advance(61)
    assert (await app.redeem(code)).json["error"] == "invalid_grant"


async def test_a_code_used_twice_ends_the_session(scene: Scene) -> None:
    await scene.person()
    await scene.log_in()
    app = await scene.app()
    code = await code_for(scene, app)
    assert (await app.redeem(code)).status == 200
    assert (await app.whoami()).status == 200
    assert (await app.redeem(code)).json["error"] == "invalid_grant"
    assert (await app.whoami()).status == 401
    assert (await app.refresh()).json["error"] == "invalid_grant"


async def test_bodies_that_are_no_forms(lite: Scene, app: App) -> None:
    post = lite.server.client.request
    form = {"content-type": "application/x-www-form-urlencoded"}
    for endpoint in ("token", "revoke", "device"):
        as_json = await post("POST", f"{OAUTH}/{endpoint}", json={"client_id": app.client_id})
        assert (as_json.status, as_json.json["error"]) == (400, "invalid_request")
        twice = await post("POST", f"{OAUTH}/{endpoint}", body=b"token=a&token=b&client_id=c", headers=form)
        assert twice.json["error"] == "invalid_request"
        broken = await post("POST", f"{OAUTH}/{endpoint}", body=b"\xff\xfe", headers=form)
        assert broken.json["error"] == "invalid_request"


async def test_a_lost_answer_may_be_asked_for_again(scene: Scene) -> None:
    await scene.person()
    await scene.log_in()
    app = await scene.authorised(await scene.app())
    first = app.tokens["refresh_token"]
    await app.refresh(first)
    assert (await app.refresh(first)).status == 200
    assert (await app.whoami()).status == 200


async def test_a_refresh_token_used_twice_ends_the_family(scene: Scene) -> None:
    user_id = await scene.person()
    await scene.log_in()
    app = await scene.authorised(await scene.app())
    stolen = app.tokens["refresh_token"]
    await app.refresh()
    assert (await app.whoami()).status == 200  # which ends the old pair
    assert (await app.refresh(stolen)).json["error"] == "invalid_grant"
    assert (await app.whoami()).status == 401
    assert (await app.refresh()).json["error"] == "invalid_grant"
    assert await scene.server.homeserver.accounts.devices.list_of(user_id) == []


async def test_refusals_of_a_refresh(lite: Scene, app: App) -> None:
    await lite.authorised(app)
    other = await lite.app({**METADATA, "client_name": "Another"})
    token = app.tokens["refresh_token"]
    assert (await other.refresh(token)).json["error"] == "invalid_grant"
    assert (await app.refresh("wrong")).json["error"] == "invalid_grant"
    missing = await app.form("token", grant_type="refresh_token", client_id=app.client_id)
    assert missing.json["error"] == "invalid_request"
    assert (await app.refresh(scope="urn:matrix:client:api:* more")).json["error"] == "invalid_scope"
    assert (await app.refresh(scope=API)).status == 200


async def test_grants_a_client_did_not_register_for(lite: Scene, app: App) -> None:
    web = {**WEB_METADATA, "grant_types": ["authorization_code"]}
    limited = App(lite.server.client, redirect_uri=web["redirect_uris"][0])
    await limited.register(web)
    assert (await limited.refresh("any")).json["error"] == "unauthorized_client"
    assert (await limited.poll("any")).json["error"] == "unauthorized_client"
    asked = await limited.form("device", client_id=limited.client_id, scope=f"{API} {DEVICE}A")
    assert asked.json["error"] == "unauthorized_client"


async def test_sessions_of_the_two_apis_are_kept_apart(lite: Scene, app: App) -> None:
    await lite.authorised(app)
    legacy = await lite.server.client.post(REFRESH, {"refresh_token": app.tokens["refresh_token"]})
    assert (legacy.status, legacy.json["errcode"]) == (401, "M_UNKNOWN_TOKEN")
    login = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": "alice"},
        "password": PASSWORD,
        "refresh_token": True,
        "device_id": "ELEMENTX01",
    }
    session = (await lite.server.client.post("/_matrix/client/v3/login", login)).json
    # The legacy login has taken the device over.
    assert (await app.whoami()).status == 401
    assert (await app.refresh(session["refresh_token"])).json["error"] == "invalid_grant"
    assert (await lite.server.client.post(REFRESH, {"refresh_token": session["refresh_token"]})).status == 200


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_revocation_ends_the_whole_session(lite: Scene, app: App, kind: str) -> None:
    await lite.authorised(app)
    # Whoever finds a leaked token may end it, without knowing its client.
    answer = await app.form("revoke", token=app.tokens[kind], token_type_hint="refresh_token")
    assert (answer.status, answer.json) == (200, {})
    assert (await app.whoami()).status == 401
    assert (await app.refresh()).json["error"] == "invalid_grant"
    assert (await app.form("revoke", token=app.tokens[kind])).status == 200


async def test_revocation_of_nothing(lite: Scene, app: App) -> None:
    assert (await app.form("revoke", token="unknown")).status == 200
    assert (await app.form("revoke")).json["error"] == "invalid_request"


async def test_what_ends_an_account_ends_its_codes(lite: Scene, app: App) -> None:
    code = await code_for(lite, app)
    await lite.server.homeserver.accounts.accounts.deactivate("@alice:example.org")
    assert (await app.redeem(code)).json["error"] == "invalid_grant"


async def test_a_locked_account_gets_no_tokens(lite: Scene, app: App) -> None:
    code = await code_for(lite, app)
    await lite.server.homeserver.accounts.accounts.set_locked("@alice:example.org", True)
    assert (await app.redeem(code)).json["error"] == "invalid_grant"


# Codes of new devices


async def begun(app: App) -> dict[str, str]:
    answer = await app.form("device", client_id=app.client_id, scope=f"{API} {DEVICE}NEWDEVICE")
    assert answer.status == 200, answer.body
    return dict(answer.json)


async def test_who_asks_too_often_is_slowed_down(lite: Scene, app: App) -> None:
    code = (await begun(app))["device_code"]
    assert (await app.poll(code)).json["error"] == "authorization_pending"
    await lite.advance(2)
    assert (await app.poll(code)).json["error"] == "slow_down"
    await lite.advance(6)
    assert (await app.poll(code)).json["error"] == "slow_down"  # five seconds more from now on
    await lite.advance(16)
    assert (await app.poll(code)).json["error"] == "authorization_pending"


async def test_a_device_that_is_refused(lite: Scene, app: App) -> None:
    device = await begun(app)
    await lite.browser.open(f"{OAUTH}/link?user_code={device['user_code'].lower().replace('-', ' ')}")
    await lite.browser.submit(decision="deny")
    assert "not logged in" in lite.browser.text
    assert (await app.poll(device["device_code"])).json["error"] == "access_denied"
    assert (await app.poll(device["device_code"])).json["error"] == "invalid_grant"


async def test_a_device_code_expires(scene: Scene) -> None:
    app = await scene.app()
    code = (await begun(app))["device_code"]
    await scene.advance(901)
    assert (await app.poll(code)).json["error"] == "expired_token"
    provider = scene.server.homeserver.oauth_provider
    assert provider is not None
    await scene.advance(601)
    await provider.retention.run()
    assert (await app.poll(code)).json["error"] == "invalid_grant"


async def test_device_requests_that_are_refused(lite: Scene, app: App) -> None:
    assert (await app.form("device", client_id="nobody", scope=API)).json["error"] == "invalid_client"
    assert (await app.form("device", client_id=app.client_id)).json["error"] == "invalid_scope"
    device = await begun(app)
    other = await lite.app({**METADATA, "client_name": "Another"})
    assert (await other.poll(device["device_code"])).json["error"] == "invalid_grant"
    missing = await app.form(
        "token", grant_type="urn:ietf:params:oauth:grant-type:device_code", client_id=app.client_id
    )
    assert missing.json["error"] == "invalid_request"


async def test_codes_cannot_be_guessed(tmp_path: Path) -> None:
    async for lite in scene_in(tmp_path, rate_limits={"enabled": True}):
        await lite.person()
        await lite.log_in()
        for _ in range(8):
            answer = await lite.browser.open(f"{OAUTH}/link?user_code=BBBB-BBBB")
            assert answer.status == 404
        assert (await lite.browser.open(f"{OAUTH}/link?user_code=BBBB-BBBB")).status == 429


async def test_a_server_may_do_without(tmp_path: Path) -> None:
    async for lite in scene_in(tmp_path, oauth_provider={"device_grant": False}):
        metadata = (await lite.server.client.get("/_matrix/client/v1/auth_metadata")).json
        assert "device_authorization_endpoint" not in metadata
        app = await lite.app()
        assert (await app.form("device", client_id=app.client_id)).status == 404
        assert (await lite.browser.open(f"{OAUTH}/link")).status == 404


async def test_a_server_may_do_without_all_of_it(tmp_path: Path) -> None:
    async for lite in scene_in(tmp_path, oauth_provider={"enabled": False}):
        answer = await lite.server.client.get("/_matrix/client/v1/auth_metadata")
        assert (answer.status, answer.json["errcode"]) == (404, "M_UNRECOGNIZED")
        assert (await lite.server.client.get("/_starling/client/account")).status == 404


async def test_attempts_are_logged_without_secrets(lite: Scene, app: App, capsys: pytest.CaptureFixture[str]) -> None:
    code = await code_for(lite, app)
    secrets = [PASSWORD, code, app.verifier, *lite.browser.cookies.values()]
    await app.redeem(code)
    secrets += [app.tokens["access_token"], app.tokens["refresh_token"]]
    await app.refresh("wrong")
    await app.redeem(code)
    await app.form("revoke", token=app.tokens["access_token"])
    written = capsys.readouterr().out
    for event in ("authorization granted", "oauth session begun", "token refused", "used twice"):
        assert event in written
    assert [secret for secret in secrets if secret in written] == []
