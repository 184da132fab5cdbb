"""Firebase Cloud Messaging, as a double of its documented HTTP v1 API plays it: tokens, messages, errors."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from plugin_kit import loopback, server_with
from server_kit import Server, User

from homeserver.plugin_api.loader import find_plugins
from homeserver_config import ConfigError, read_settings

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
EMAIL = "push@example.iam.gserviceaccount.com"


@dataclass
class Firebase:
    """Google's token endpoint and FCM."""

    url: str = ""
    tokens: int = 0
    messages: list[dict[str, Any]] = field(default_factory=list)
    errors: list[tuple[int, str]] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def token(self, request: web.Request) -> web.Response:
        form = parse_qs((await request.read()).decode())
        assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
        signed, _, signature = form["assertion"][0].rpartition(".")
        KEY.public_key().verify(
            base64.urlsafe_b64decode(signature + "=="), signed.encode(), padding.PKCS1v15(), SHA256()
        )
        claims = json.loads(base64.urlsafe_b64decode(signed.split(".")[1] + "=="))
        assert (claims["iss"], claims["aud"]) == (EMAIL, self.url + "/token")
        assert claims["scope"] == "https://www.googleapis.com/auth/firebase.messaging"
        assert claims["exp"] - claims["iat"] == 3600
        self.tokens += 1
        return web.json_response({"access_token": f"token{self.tokens}", "expires_in": 3599, "token_type": "Bearer"})

    async def send(self, request: web.Request) -> web.Response:
        body = await request.json()
        if request.headers["Authorization"] != f"Bearer token{self.tokens}":
            return web.json_response({"error": {"code": 401, "status": "UNAUTHENTICATED"}}, status=401)
        self.messages.append(body["message"])
        self.arrived.set()
        if self.errors:
            status, code = self.errors.pop(0)
            detail = {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}
            return web.json_response({"error": {"code": status, "status": "X", "details": [detail]}}, status=status)
        return web.json_response({"name": "projects/example/messages/1"})

    async def wait_for(self, count: int) -> list[dict[str, Any]]:
        async with asyncio.timeout(10):
            while len(self.messages) < count:
                self.arrived.clear()
                await self.arrived.wait()
        return self.messages[:count]

    @property
    def plugin(self) -> dict[str, Any]:
        account = {"project_id": "example", "client_email": EMAIL, "private_key": PEM, "token_uri": self.url + "/token"}
        app = {"app_id": "org.example.app", "service_account": json.dumps(account)}
        return {"name": "push_fcm", "settings": {"apps": [app], "api": self.url}}


@dataclass
class Scene:
    server: Server
    firebase: Firebase
    alice: User
    bob: User
    room_id: str

    async def subscribe(self, data: dict[str, Any] | None = None, app_id: str = "org.example.app") -> int:
        pusher = {
            "kind": "fcm",
            "app_id": app_id,
            "pushkey": "registration:token",
            "app_display_name": "App",
            "device_display_name": "Phone",
            "lang": "en",
            "data": data or {},
        }
        return (await self.alice.ask("POST", "/pushers/set", pusher)).status


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    firebase = Firebase()
    places: Any = {("POST", "/token"): firebase.token, ("POST", "/v1/projects/example/messages:send"): firebase.send}
    async with loopback(places) as firebase.url, server_with(tmp_path, firebase.plugin) as server:
        alice, bob = await server.users("alice", "bob")
        room_id = await bob.create_room(invite=[alice.user_id], name="Kitchen")
        await alice.join(room_id)
        yield Scene(server, firebase, alice, bob, room_id)


async def test_messages_reach_the_app_with_one_access_token(scene: Scene) -> None:
    assert await scene.subscribe() == 200
    first = await scene.bob.say(scene.room_id, "Dinner!")
    (told,) = await scene.firebase.wait_for(1)
    await scene.bob.say(scene.room_id, "Now!")
    await scene.firebase.wait_for(2)
    assert told["token"] == "registration:token"
    assert told["android"] == {"priority": "HIGH", "ttl": "86400s"}
    data = told["data"]
    assert (data["event_id"], data["room_name"], data["unread"]) == (first, "Kitchen", "1")
    assert json.loads(data["content"])["body"] == "Dinner!"
    assert all(isinstance(value, str) for value in data.values())
    assert scene.firebase.tokens == 1


async def test_ids_only_where_wanted_and_no_more_than_fits(scene: Scene) -> None:
    await scene.subscribe({"format": "event_id_only"})
    await scene.bob.say(scene.room_id, "secret")
    (told,) = await scene.firebase.wait_for(1)
    assert set(told["data"]) == {"event_id", "room_id", "prio", "unread"}
    await scene.subscribe()
    await scene.bob.say(scene.room_id, "long " * 2_000)
    (_, told) = await scene.firebase.wait_for(2)
    assert "content" not in told["data"]
    assert told["data"]["sender"] == scene.bob.user_id


async def test_a_failure_is_tried_again_and_a_useless_token_ends_its_pusher(scene: Scene) -> None:
    await scene.subscribe()
    scene.firebase.errors = [(503, "UNAVAILABLE"), (404, "UNREGISTERED")]
    await scene.bob.say(scene.room_id, "again")
    first, second = await scene.firebase.wait_for(2)
    assert first["data"]["event_id"] == second["data"]["event_id"]
    async with asyncio.timeout(5):
        while (await scene.alice.call("GET", "/pushers"))["pushers"]:
            await asyncio.sleep(0.01)


async def test_an_access_token_that_was_revoked_is_renewed(scene: Scene) -> None:
    await scene.subscribe()
    await scene.bob.say(scene.room_id, "one")
    await scene.firebase.wait_for(1)
    scene.firebase.tokens += 1  # token1 is good no more
    await scene.bob.say(scene.room_id, "two")
    await scene.firebase.wait_for(2)
    assert scene.firebase.tokens == 3


async def test_other_apps_and_formats_are_refused(scene: Scene) -> None:
    assert await scene.subscribe(app_id="org.example.other") == 400
    assert await scene.subscribe({"format": "everything"}) == 400


@pytest.mark.parametrize("account", ["no JSON", "[]", "{}", json.dumps({"project_id": "p"})])
def test_what_is_no_service_account_is_refused(account: str) -> None:
    settings = {"apps": [{"app_id": "a", "service_account": account}]}
    with pytest.raises(ConfigError, match="service account"):
        find_plugins(read_settings(json.dumps({"plugins": [{"name": "push_fcm", "settings": settings}]})).plugins)
