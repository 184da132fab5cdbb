"""The token service for LiveKit: tokens checked as LiveKit checks them, rooms made in a double of LiveKit's API."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from federation.network import Network
from plugin_kit import loopback, server_with
from server_kit import Server, User

from homeserver.plugin_api.loader import find_plugins
from homeserver.testing import AsgiClient
from homeserver_config import ConfigError, read_settings
from homeserver_plugins.livekit.tokens import pseudonym, room_alias

SECRET = "0123456789abcdef0123456789abcdef"
URL = "wss://livekit.example.org"
SERVICE = "/_matrix/livekit/jwt"


def claims_of(token: str) -> Any:
    """The claims, once the signature holds under the secret that LiveKit has."""
    signed, _, signature = token.rpartition(".")
    expected = hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64encode(expected).rstrip(b"=").decode() == signature
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in signed.split("."))
    assert header == {"typ": "JWT", "alg": "HS256"}
    return claims


@dataclass
class LiveKit:
    """The part of LiveKit's API that makes rooms: it takes a token with the right to, for this room."""

    url: str = ""
    rooms: dict[str, Any] = field(default_factory=dict)
    is_broken: bool = False

    async def create_room(self, request: web.Request) -> web.Response:
        claims = claims_of(request.headers["Authorization"].removeprefix("Bearer "))
        wanted = await request.json()
        if self.is_broken or claims["iss"] != "starling" or claims["video"].get("roomCreate") is not True:
            return web.json_response({"code": "permission_denied"}, status=403)
        self.rooms[wanted["name"]] = wanted
        return web.json_response({"sid": "RM_1", "name": wanted["name"]})

    @property
    def plugin(self) -> dict[str, Any]:
        settings = {"url": URL, "api_url": self.url, "api_key": "starling", "api_secret": SECRET}
        return {"name": "livekit", "settings": settings}


@pytest.fixture
async def livekit() -> AsyncIterator[LiveKit]:
    double = LiveKit()
    place = ("POST", "/twirp/livekit.RoomService/CreateRoom")
    async with loopback({place: double.create_room}) as double.url:
        yield double


@dataclass
class Scene:
    server: Server
    alice: User
    room_id: str


@pytest.fixture
async def scene(tmp_path: Path, livekit: LiveKit) -> AsyncIterator[Scene]:
    async with server_with(tmp_path, livekit.plugin) as server:
        alice = await server.user("alice")
        yield Scene(server, alice, await alice.create_room())


async def openid_of(user: User) -> Any:
    return await user.call("POST", f"/user/{user.user_id}/openid/request_token", {})


async def legacy(client: AsgiClient, user: User, room_id: str, path: str = SERVICE + "/sfu/get") -> Any:
    body = {"room": room_id, "openid_token": await openid_of(user), "device_id": "PHONE"}
    return await client.request("POST", path, json=body)


async def current(client: AsgiClient, user: User, room_id: str, claimed: str | None = None) -> Any:
    member = {"id": "memberABC", "claimed_user_id": claimed or user.user_id, "claimed_device_id": "DEVICE123"}
    body = {"room_id": room_id, "slot_id": "m.call#ROOM", "openid_token": await openid_of(user), "member": member}
    return await client.request("POST", SERVICE + "/get_token", json=body)


def test_names_are_those_of_the_published_test_vectors() -> None:
    assert room_alias("!roomid:example.com", "slot1234") == "O8437W3+jmzMVjoIP3tNwbm+XxHQk2iKpOA7aqw3qSc"
    found = pseudonym("@alice:example.com", "DEVICE123", "memberABC")
    assert found == "J+T45tGruxc+HrUOqJJlyQSV33m728Cme4+vt8/SWrU"


@pytest.mark.parametrize("path", [SERVICE + "/sfu/get", "/sfu/get"])
async def test_a_local_user_gets_a_room_and_a_token_for_it(scene: Scene, livekit: LiveKit, path: str) -> None:
    answer = await legacy(scene.server.client, scene.alice, scene.room_id, path)
    assert (answer.status, answer.json["url"]) == (200, URL)
    claims = claims_of(answer.json["jwt"])
    room = room_alias(scene.room_id, "m.call#ROOM")
    assert (claims["iss"], claims["sub"]) == ("starling", "@alice:example.org:PHONE")
    assert claims["video"] == {
        "room": room,
        "roomJoin": True,
        "roomCreate": False,
        "canPublish": True,
        "canSubscribe": True,
        "canPublishData": True,
    }
    now_s = scene.server.homeserver.clock.now_ms() // 1000
    assert claims["nbf"] <= now_s
    assert 3590 <= claims["exp"] - now_s <= 3600
    assert livekit.rooms == {room: {"name": room, "empty_timeout": 300, "departure_timeout": 20}}


async def test_both_endpoints_lead_into_the_same_room(scene: Scene) -> None:
    old = claims_of((await legacy(scene.server.client, scene.alice, scene.room_id)).json["jwt"])
    new = claims_of((await current(scene.server.client, scene.alice, scene.room_id)).json["jwt"])
    assert new["video"] == old["video"]
    assert new["sub"] == pseudonym("@alice:example.org", "DEVICE123", "memberABC")


async def test_tokens_are_only_for_who_asks_and_who_is_in_the_room(scene: Scene) -> None:
    bob = await scene.server.user("bob")
    client = scene.server.client
    assert (await legacy(client, bob, scene.room_id)).json["errcode"] == "M_FORBIDDEN"
    assert (await legacy(client, bob, "!nowhere:example.org")).json["errcode"] == "M_FORBIDDEN"
    assert (await current(client, scene.alice, scene.room_id, bob.user_id)).json["errcode"] == "M_FORBIDDEN"
    await scene.alice.invite(scene.room_id, bob)
    assert (await legacy(client, bob, scene.room_id)).status == 403
    await bob.join(scene.room_id)
    assert (await legacy(client, bob, scene.room_id)).status == 200


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"room": None}, "M_MISSING_PARAM"),
    ({"device_id": 7}, "M_BAD_JSON"),
    ({"openid_token": None}, "M_MISSING_PARAM"),
    ({"openid_token": "token"}, "M_BAD_JSON"),
    ({"openid_token": {"matrix_server_name": "example.org", "access_token": "guess"}}, "M_UNKNOWN_TOKEN"),
    ({"openid_token": {"matrix_server_name": "a b", "access_token": "guess"}}, "M_INVALID_PARAM"),
]


async def test_what_proves_nothing_is_refused(scene: Scene, livekit: LiveKit) -> None:
    good = {"room": scene.room_id, "device_id": "PHONE", "openid_token": await openid_of(scene.alice)}
    for changes, errcode in MISTAKES:
        answer = await scene.server.client.request("POST", "/sfu/get", json={**good, **changes})
        assert answer.json["errcode"] == errcode, changes
    assert livekit.rooms == {}


async def test_without_livekit_there_is_no_token(scene: Scene, livekit: LiveKit) -> None:
    livekit.is_broken = True
    answer = await legacy(scene.server.client, scene.alice, scene.room_id)
    assert (answer.status, answer.json["error"]) == (502, "LiveKit makes no room for this call.")


async def test_clients_find_the_service(scene: Scene) -> None:
    known = await scene.server.client.get("/.well-known/matrix/client")
    (focus,) = known.json["org.matrix.msc4143.rtc_foci"]
    assert focus["type"] == "livekit"
    assert focus["livekit_service_url"].endswith(SERVICE)
    for version in ("v1", "unstable/org.matrix.msc4143"):
        answer = await scene.alice.client.get(f"/_matrix/client/{version}/rtc/transports")
        assert answer.json == {"rtc_transports": [focus]}
    assert (await scene.server.client.get("/_matrix/client/v1/rtc/transports")).status == 401


async def vouch_for_another(request: web.Request) -> web.Response:
    return web.json_response({"sub": "@bob:beta.test"})


async def test_users_of_other_servers_join_but_have_no_rooms_made(tmp_path: Path, livekit: LiveKit) -> None:
    network = Network(tmp_path)
    try:
        alpha = await network.add(
            "alpha.test", plugins=[livekit.plugin], outgoing={"ip_ranges_allowed": ["127.0.0.0/8"]}
        )
        beta = await network.add("beta.test")
        alice, bob = await alpha.user("alice"), await beta.user("bob")
        room_id = await alice.create_room()
        refused = await legacy(alpha.client, bob, room_id)
        assert refused.json["errcode"] == "M_FORBIDDEN"
        await alice.set_state(room_id, "m.room.join_rules", {"join_rule": "public"})
        await alpha.let_in(room_id, bob.user_id)
        answer = await legacy(alpha.client, bob, room_id)
        assert claims_of(answer.json["jwt"])["sub"] == "@bob:beta.test:PHONE"
        assert livekit.rooms == {}
        forged = {"matrix_server_name": "beta.test", "access_token": "guess"}
        body = {"room": room_id, "openid_token": forged, "device_id": "PHONE"}
        assert (await alpha.client.request("POST", "/sfu/get", json=body)).json["errcode"] == "M_UNKNOWN_TOKEN"
        played = await network.add_fake("gamma.test")
        played.routes["GET", "/_matrix/federation/v1/openid/userinfo"] = vouch_for_another
        body["openid_token"] = {"matrix_server_name": "gamma.test", "access_token": "any"}
        assert (await alpha.client.request("POST", "/sfu/get", json=body)).json["errcode"] == "M_UNKNOWN_TOKEN"
    finally:
        await network.stop()


@pytest.mark.parametrize(("key", "value"), [("url", "https://livekit.example.org"), ("api_secret", "short")])
def test_settings_that_cannot_work_are_refused(key: str, value: str) -> None:
    settings = {"url": URL, "api_key": "starling", "api_secret": SECRET, key: value}
    with pytest.raises(ConfigError, match=key):
        find_plugins(read_settings(json.dumps({"plugins": [{"name": "livekit", "settings": settings}]})).plugins)
