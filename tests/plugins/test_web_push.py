"""Web Push to a push service on loopback: decrypted by an independent implementation, signatures checked by hand."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import http_ece
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from plugin_kit import loopback, server_with
from server_kit import Server, User

from homeserver.plugin_api.loader import find_plugins
from homeserver_config import ConfigError, read_settings
from homeserver_plugins.web_push.encryption import LARGEST_PLAINTEXT, decode_base64url, encrypt, read_public_key
from homeserver_plugins.web_push.vapid import new_private_key

PLUGIN = {"name": "web_push", "settings": {"allow_http": True, "contact": "mailto:admin@example.org"}}
AUTH = b"sixteen bytes ok"


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass
class Browser:
    """A browser's subscription and its push service."""

    url: str = ""
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def push(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append((headers, await request.read()))
        self.arrived.set()
        return web.Response(status=self.answers.pop(0) if self.answers else 201)

    @property
    def p256dh(self) -> str:
        return base64url(self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))

    def pusher(self, **changes: Any) -> dict[str, Any]:
        data = {"url": self.url + "/push/1", "auth": base64url(AUTH), **changes.pop("data", {})}
        return {
            "kind": "webpush",
            "app_id": "org.example.web",
            "pushkey": self.p256dh,
            "app_display_name": "App",
            "device_display_name": "Browser",
            "lang": "en",
            "data": data,
            **changes,
        }

    async def wait_for(self, count: int) -> list[tuple[dict[str, str], bytes]]:
        async with asyncio.timeout(10):
            while len(self.requests) < count:
                self.arrived.clear()
                await self.arrived.wait()
        return self.requests[:count]

    def read(self, body: bytes) -> Any:
        """What the service worker gets, as `http_ece` decrypts it."""
        return json.loads(http_ece.decrypt(body, private_key=self.key, auth_secret=AUTH, version="aes128gcm"))


@dataclass
class Scene:
    server: Server
    browser: Browser
    alice: User
    bob: User
    room_id: str

    async def subscribe(self, **changes: Any) -> None:
        await self.alice.call("POST", "/pushers/set", self.browser.pusher(**changes))


@asynccontextmanager
async def scene(folder: Path, **sections: Any) -> AsyncIterator[Scene]:
    browser = Browser()
    async with (
        loopback({("POST", "/push/1"): browser.push}) as browser.url,
        server_with(folder, PLUGIN, **sections) as server,
    ):
        alice, bob = await server.users("alice", "bob")
        room_id = await bob.create_room(invite=[alice.user_id], name="Kitchen")
        await alice.join(room_id)
        yield Scene(server, browser, alice, bob, room_id)


@pytest.fixture
async def kitchen(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path) as made:
        yield made


def verified_claims(authorization: str, public_key: str) -> Any:
    """The claims of a VAPID header, once its signature holds under the key that clients were told."""
    scheme, _, rest = authorization.partition(" ")
    parts = dict(part.strip().split("=", 1) for part in rest.split(","))
    assert (scheme, parts["k"]) == ("vapid", public_key)
    signed, _, signature = parts["t"].rpartition(".")
    raw = decode_base64url(signature)
    dss = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), decode_base64url(public_key))
    key.verify(dss, signed.encode(), ec.ECDSA(SHA256()))
    header, claims = (json.loads(decode_base64url(part)) for part in signed.split("."))
    assert header == {"typ": "JWT", "alg": "ES256"}
    return claims


def test_the_example_of_the_rfc_comes_out_byte_for_byte() -> None:
    receiver = read_public_key(
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
    )
    number = int.from_bytes(decode_base64url("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"), "big")
    body = encrypt(
        b"When I grow up, I want to be a watermelon",
        receiver,
        decode_base64url("BTBZMqHH6r4Tts7J_aSIgg"),
        ec.derive_private_key(number, ec.SECP256R1()),
        decode_base64url("DGv6ra1nlYgDCS1FRnbzlw"),
    )
    assert base64url(body) == (
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_"
        "yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )


async def test_a_message_reaches_the_browser_and_nobody_else_can_read_it(kitchen: Scene) -> None:
    await kitchen.subscribe(data={"default_payload": {"account": 7}})
    event_id = await kitchen.bob.say(kitchen.room_id, "Dinner!")
    ((headers, body),) = await kitchen.browser.wait_for(1)
    assert b"Dinner" not in body
    message = kitchen.browser.read(body)
    assert (message["event_id"], message["room_id"], message["room_name"]) == (event_id, kitchen.room_id, "Kitchen")
    assert (message["content"]["body"], message["unread"], message["account"]) == ("Dinner!", 1, 7)
    assert {name: headers[name] for name in ("content-encoding", "ttl", "urgency")} == {
        "content-encoding": "aes128gcm",
        "ttl": "86400",
        "urgency": "high",
    }
    assert "topic" not in headers


async def test_the_server_shows_who_it_is_with_the_key_that_clients_were_told(kitchen: Scene) -> None:
    capabilities = (await kitchen.alice.call("GET", "/capabilities"))["capabilities"]
    known = capabilities["m.webpush"]
    assert known == capabilities["org.matrix.msc4174.webpush"]
    assert known["enabled"] is True
    await kitchen.subscribe(kind="org.matrix.msc4174.webpush")
    await kitchen.bob.say(kitchen.room_id, "hello")
    ((headers, _),) = await kitchen.browser.wait_for(1)
    claims = verified_claims(headers["authorization"], known["vapid"])
    assert (claims["aud"], claims["sub"]) == (kitchen.browser.url, "mailto:admin@example.org")
    now_s = kitchen.server.homeserver.clock.now_ms() // 1000
    assert now_s < claims["exp"] <= now_s + 24 * 3600


async def test_the_key_survives_a_restart(tmp_path: Path) -> None:
    keys = set()
    for _ in range(2):
        async with server_with(tmp_path, PLUGIN) as server:
            alice = await server.user("alice")
            keys.add((await alice.call("GET", "/capabilities"))["capabilities"]["m.webpush"]["vapid"])
    assert len(keys) == 1


async def test_ids_only_and_the_last_of_each_room_for_those_who_want_it(kitchen: Scene) -> None:
    await kitchen.subscribe(data={"format": "event_id_only", "only_last_per_room": True})
    await kitchen.bob.say(kitchen.room_id, "secret")
    ((headers, body),) = await kitchen.browser.wait_for(1)
    assert set(kitchen.browser.read(body)) == {"event_id", "room_id", "counts", "unread", "prio"}
    assert headers["topic"] == base64url(hashlib.sha256(kitchen.room_id.encode()).digest())[:32]


async def test_what_is_too_large_goes_without_its_content(kitchen: Scene) -> None:
    await kitchen.subscribe()
    await kitchen.bob.say(kitchen.room_id, "long " * 2_000)
    ((_, body),) = await kitchen.browser.wait_for(1)
    assert len(body) <= 4096
    message = kitchen.browser.read(body)
    assert "content" not in message
    assert message["sender"] == kitchen.bob.user_id
    assert LARGEST_PLAINTEXT == 3993


@pytest.mark.parametrize("status", [404, 410])
async def test_a_subscription_that_is_gone_ends_its_pusher(kitchen: Scene, status: int) -> None:
    await kitchen.subscribe()
    kitchen.browser.answers = [status]
    await kitchen.bob.say(kitchen.room_id, "one")
    await kitchen.browser.wait_for(1)
    async with asyncio.timeout(5):
        while (await kitchen.alice.call("GET", "/pushers"))["pushers"]:
            await asyncio.sleep(0.01)


async def test_what_fails_is_tried_again(kitchen: Scene) -> None:
    await kitchen.subscribe()
    kitchen.browser.answers = [429]
    event_id = await kitchen.bob.say(kitchen.room_id, "again")
    sent = await kitchen.browser.wait_for(2)
    assert [kitchen.browser.read(body)["event_id"] for _, body in sent] == [event_id, event_id]


async def test_counts_alone_are_sent_unless_only_events_are_wanted(kitchen: Scene) -> None:
    await kitchen.subscribe()
    event_id = await kitchen.bob.say(kitchen.room_id, "one")
    await kitchen.browser.wait_for(1)
    await kitchen.alice.read(kitchen.room_id, event_id)
    (_, (_, body)) = await kitchen.browser.wait_for(2)
    assert kitchen.browser.read(body) == {"counts": {"unread": 0}, "unread": 0, "prio": "low"}
    await kitchen.subscribe(data={"events_only": True})
    event_id = await kitchen.bob.say(kitchen.room_id, "two")
    await kitchen.browser.wait_for(3)
    await kitchen.alice.read(kitchen.room_id, event_id)
    await kitchen.bob.say(kitchen.room_id, "three")
    sent = await kitchen.browser.wait_for(4)
    assert kitchen.browser.read(sent[3][1])["content"]["body"] == "three"


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"pushkey": "not a key"}, "M_INVALID_PARAM"),
    ({"pushkey": base64url(b"\x04" + b"\x01" * 64)}, "M_INVALID_PARAM"),
    ({"data": {"auth": None}}, "M_MISSING_PARAM"),
    ({"data": {"auth": "c2hvcnQ"}}, "M_INVALID_PARAM"),
    ({"data": {"url": None}}, "M_MISSING_PARAM"),
    ({"data": {"url": "ftp://example.org/push"}}, "M_INVALID_PARAM"),
    ({"data": {"default_payload": []}}, "M_INVALID_PARAM"),
    ({"data": {"format": "everything"}}, "M_INVALID_PARAM"),
    ({"kind": "unifiedpush", "data": {"url": "push"}}, "M_INVALID_PARAM"),
]


async def test_what_is_no_subscription_is_refused(kitchen: Scene) -> None:
    for changes, errcode in MISTAKES:
        refused = await kitchen.alice.ask("POST", "/pushers/set", kitchen.browser.pusher(**changes))
        assert (refused.status, refused.json["errcode"]) == (400, errcode), changes


async def test_endpoints_outside_the_list_are_refused_whatever_they_are_called(tmp_path: Path) -> None:
    async with scene(tmp_path, push={"allowed_gateways": ["*.example.org"]}) as made:
        pusher = made.browser.pusher()
        assert (await made.alice.ask("POST", "/pushers/set", pusher)).status == 400
        pusher["data"]["endpoint"] = pusher["data"].pop("url")
        assert (await made.alice.ask("POST", "/pushers/set", pusher)).status == 400
        pusher["data"]["endpoint"] = "https://push.example.org/1"
        assert (await made.alice.ask("POST", "/pushers/set", pusher)).status == 200


@pytest.mark.parametrize(("wanted", "has_content"), [(None, False), ("full", True)])
async def test_unifiedpush_gets_what_a_gateway_would_hand_on(
    kitchen: Scene, wanted: str | None, has_content: bool
) -> None:
    await kitchen.subscribe(kind="unifiedpush", pushkey="key", data={"auth": None, "format": wanted})
    event_id = await kitchen.bob.say(kitchen.room_id, "Dinner!")
    ((headers, body),) = await kitchen.browser.wait_for(1)
    told = json.loads(body)["notification"]
    assert (told["event_id"], told["counts"], "content" in told) == (event_id, {"unread": 1}, has_content)
    assert told["devices"] == [{"app_id": "org.example.web", "pushkey": "key", "tweaks": {"sound": "default"}}]
    assert headers["content-type"] == "application/json"


def test_a_key_or_contact_that_is_none_is_refused() -> None:
    for name, value in (("vapid_private_key", "short"), ("contact", "me")):
        settings = read_settings(f"plugins: [{{name: web_push, settings: {{{name}: {value}}}}}]")
        with pytest.raises(ConfigError):
            find_plugins(settings.plugins)
    good = read_settings(f"plugins: [{{name: web_push, settings: {{vapid_private_key: {new_private_key()}}}}}]")
    assert find_plugins(good.plugins)[0].name == "web_push"
