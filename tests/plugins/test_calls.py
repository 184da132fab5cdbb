"""TURN credentials, made from the shared secret as a TURN server checks them, fixed ones, or none; ringing phones."""

import base64
import hashlib
import hmac
from pathlib import Path
from typing import Any

import pytest
from plugin_kit import server_with

from homeserver.plugin_api import Notification, Pusher
from homeserver.runtime.clock import ManualClock
from homeserver_config import ConfigError, read_settings

URIS = ["turn:turn.example.org?transport=udp", "turns:turn.example.org?transport=tcp"]
SHARED = {"uris": URIS, "shared_secret": "sesame", "lifetime": "1h"}


def turn(**settings: Any) -> dict[str, Any]:
    return {"name": "turn_credentials", "settings": settings}


async def test_credentials_hold_at_the_turn_server_until_they_expire(tmp_path: Path) -> None:
    clock = ManualClock(1_700_000_000_000)
    async with server_with(tmp_path, turn(**SHARED), clock=clock) as server:
        alice = await server.user("alice")
        found = await alice.call("GET", "/voip/turnServer")
    assert (found["uris"], found["ttl"]) == (URIS, 3600)
    assert found["username"] == "1700003600:@alice:example.org"
    expected = hmac.new(b"sesame", found["username"].encode(), hashlib.sha1).digest()
    assert base64.b64decode(found["password"]) == expected


async def test_fixed_credentials_are_handed_out_as_they_are(tmp_path: Path) -> None:
    async with server_with(tmp_path, turn(uris=URIS, username="us", password="secret")) as server:
        alice = await server.user("alice")
        found = await alice.call("GET", "/voip/turnServer")
    assert found == {"username": "us", "password": "secret", "uris": URIS, "ttl": 86_400}


@pytest.mark.parametrize("plugins", [[], [turn()]])
async def test_without_servers_the_answer_is_empty(tmp_path: Path, plugins: list[Any]) -> None:
    async with server_with(tmp_path, *plugins) as server:
        alice = await server.user("alice")
        assert await alice.call("GET", "/voip/turnServer") == {}


@pytest.mark.parametrize(("allow", "given"), [(False, False), (True, True)])
async def test_guests_get_credentials_only_where_they_may(tmp_path: Path, allow: bool, given: bool) -> None:
    plugin = turn(**SHARED, allow_guests=allow)
    async with server_with(tmp_path, plugin, guests={"enabled": True}) as server:
        guest = await server.client.post("/_matrix/client/v3/register?kind=guest", {})
        client = server.client.with_token(guest.json["access_token"])
        found = await client.get("/_matrix/client/v3/voip/turnServer")
        assert (found.status, "password" in found.json) == (200, given)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"uris": ["http://example.org"], "shared_secret": "s"}, "must begin with turn: or turns:"),
        ({"uris": URIS}, "uris need a shared_secret, or username and password"),
        ({"uris": URIS, "username": "us"}, "username and password go together"),
        ({"uris": URIS, "shared_secret": "s", "username": "us"}, "either shared_secret, or username and password"),
    ],
)
def test_half_a_configuration_is_a_mistake(settings: dict[str, Any], sentence: str) -> None:
    from homeserver.plugin_api.loader import find_plugins

    text = f"plugins: [{{name: turn_credentials, settings: {settings}}}]"
    with pytest.raises(ConfigError, match=sentence):
        find_plugins(read_settings(text).plugins)


async def test_calls_ring_and_messages_do_not(tmp_path: Path) -> None:
    pusher = Pusher("@a:example.org", "http", "app", "key", "App", "Phone", "en", {}, 0)
    async with server_with(tmp_path, turn()) as server:
        transform = server.homeserver.plugins.hooks.transform_push_payload
        call = await transform(pusher, Notification({"type": "m.call.invite", "prio": "low"}))
        message = Notification({"type": "m.room.message", "prio": "low"}, {"sound": "default"})
        assert await transform(pusher, message) is message
    assert call is not None
    assert (call.payload["prio"], call.tweaks) == ("high", {"sound": "ring"})


async def test_the_call_service_is_named_to_clients(tmp_path: Path) -> None:
    async with server_with(tmp_path, turn(livekit_url="https://livekit.example.org/jwt")) as server:
        found = await server.client.get("/.well-known/matrix/client")
    focus = {"type": "livekit", "livekit_service_url": "https://livekit.example.org/jwt"}
    assert found.json["org.matrix.msc4143.rtc_foci"] == [focus]
