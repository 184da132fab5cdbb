"""Client registration: what is taken, what is refused, and when the same client comes again."""

from __future__ import annotations

from typing import Any

import pytest
from oauth_kit import CALLBACK, METADATA, OAUTH, WEB_METADATA
from oauth_provider.conftest import Scene

REGISTER = f"{OAUTH}/register"


async def register(scene: Scene, base: dict[str, Any] = WEB_METADATA, **changes: Any) -> Any:
    metadata = {name: value for name, value in {**base, **changes}.items() if value is not None}
    return await scene.server.client.post(REGISTER, metadata)


async def test_what_is_registered_is_told(scene: Scene) -> None:
    answer = await register(
        scene, METADATA, grant_types=[*METADATA["grant_types"], "urn:example:other"], unknown_key="x", contacts=["a@b"]
    )
    assert answer.status == 201
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json
    assert told["client_name#de"] == "Element X auf Deutsch"
    assert told["grant_types"] == METADATA["grant_types"]
    assert "unknown_key" not in told
    assert "client_secret" not in told
    # The same metadata is the same client; other metadata is another.
    await scene.advance(60)
    again = await register(scene, METADATA)
    assert again.json == told
    assert told["client_id"] != (await register(scene, METADATA, client_name="Another")).json["client_id"]


async def test_defaults(lite: Scene) -> None:
    made = await register(lite, grant_types=None, response_types=None, token_endpoint_auth_method=None)
    assert made.status == 201
    assert made.json["grant_types"] == ["authorization_code"]
    assert made.json["response_types"] == ["code"]
    assert made.json["token_endpoint_auth_method"] == "none"
    assert made.json["application_type"] == "web"


@pytest.mark.parametrize(
    "uri",
    [
        "https://element.io/callback",
        "https://app.element.io/callback",
        "https://element.io:5173/?query=value",
    ],
)
async def test_redirect_uris_of_web_clients(lite: Scene, uri: str) -> None:
    assert (await register(lite, redirect_uris=[uri])).status == 201


@pytest.mark.parametrize(
    "uri",
    [
        "https://element.io/callback#fragment",
        "https://element.io/callback#",
        "http://element.io/callback",
        "http://localhost/",
        "https://user:pass@element.io/",
        "https://evil.example/",
        "https://notelement.io/",
        "https://element.io.evil.example/",
        "https://evil.example\\@element.io/",
        "io.element:/callback",
        "javascript:alert(1)",
        "/callback",
        "https://element.io/ with a space",
        "https://element.io:99999/",
        "",
    ],
)
async def test_redirect_uris_web_clients_cannot_have(lite: Scene, uri: str) -> None:
    answer = await register(lite, redirect_uris=[uri])
    assert (answer.status, answer.json["error"]) == (400, "invalid_redirect_uri")


@pytest.mark.parametrize(
    "uri",
    [
        "io.element.app:/callback",
        "io.element:/",
        "io.element:callback",
        "http://localhost/callback",
        "http://127.0.0.1/callback",
        "http://[::1]/callback",
        "https://mobile.element.io/callback",
    ],
)
async def test_redirect_uris_of_native_clients(lite: Scene, uri: str) -> None:
    assert (await register(lite, METADATA, redirect_uris=[uri])).status == 201


@pytest.mark.parametrize(
    "uri",
    [
        "element:/callback",
        "io.elementary:/callback",
        "io.element.app://callback",
        "https://localhost/callback",
        "http://localhost:1234/callback",
        "http://localhost.evil.example/callback",
        "http://192.0.2.1/callback",
        "javascript:alert(1)",
    ],
)
async def test_redirect_uris_native_clients_cannot_have(lite: Scene, uri: str) -> None:
    answer = await register(lite, METADATA, redirect_uris=[CALLBACK, uri])
    assert (answer.status, answer.json["error"]) == (400, "invalid_redirect_uri")


@pytest.mark.parametrize(
    "changes",
    [
        {"client_uri": None},
        {"client_uri": "http://element.io/"},
        {"client_uri": "https://user@element.io/"},
        {"client_uri": "https://com/"},
        {"client_uri": "https://192.0.2.1/"},
        {"client_uri": 5},
        {"logo_uri": "http://element.io/logo.png"},
        {"tos_uri": "https://evil.example/tos"},
        {"policy_uri#fr": "https://evil.example/policy"},
        {"client_name": 5},
        {"client_name": "x" * 300},
        {"client_name#not a language": "x"},
        {"application_type": "desktop"},
        {"token_endpoint_auth_method": "client_secret_basic"},
        {"grant_types": ["implicit"]},
        {"grant_types": "authorization_code"},
        {"response_types": ["token"]},
        {"response_types": [5]},
    ],
)
async def test_metadata_that_does_not_hold(lite: Scene, changes: dict[str, Any]) -> None:
    answer = await register(lite, **changes)
    assert (answer.status, answer.json["error"]) == (400, "invalid_client_metadata")
    assert answer.json["error_description"]


async def test_redirect_uris_are_needed_for_codes_only(lite: Scene) -> None:
    missing = await register(lite, redirect_uris=None)
    assert missing.json["error"] == "invalid_redirect_uri"
    assert (await register(lite, redirect_uris="https://element.io/")).json["error"] == "invalid_redirect_uri"
    device = ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"]
    assert (await register(lite, METADATA, redirect_uris=None, grant_types=device)).status == 201


@pytest.mark.parametrize("body", [b"", b"[]", b"not json", b'"text"'])
async def test_bodies_that_are_no_metadata(lite: Scene, body: bytes) -> None:
    answer = await lite.server.client.request("POST", REGISTER, body=body)
    assert (answer.status, answer.json["error"]) == (400, "invalid_client_metadata")


async def test_clients_nobody_uses_are_forgotten(scene: Scene) -> None:
    await scene.person()
    await scene.log_in()
    kept = await scene.authorised(await scene.app())
    idle = await scene.app({**METADATA, "client_name": "Idle"})
    provider = scene.server.homeserver.oauth_provider
    assert provider is not None
    await scene.advance(31 * 86_400)
    await provider.retention.run()
    assert (await idle.form("device", client_id=idle.client_id)).json["error"] == "invalid_client"
    assert (await kept.refresh()).status == 200
