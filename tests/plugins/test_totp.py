"""The second factor: set up as an app would, asked for at every password, used once, guessed in vain."""

import base64
import hashlib
import hmac
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from oauth_kit import Browser
from plugin_kit import server_with
from server_kit import Server, User

from homeserver.runtime.clock import ManualClock
from homeserver.testing import Answer
from homeserver_plugins.totp.codes import code_at, find_step

API = "/_starling/client/v1/totp"
PASSWORD = "correct horse 7"


def app_code(secret: str, now_ms: int) -> str:
    """What an authenticator app shows, computed as RFC 4226 spells it out."""
    digest = hmac.new(base64.b32decode(secret), struct.pack(">Q", now_ms // 30_000), "sha1").digest()
    at = digest[19] & 15
    return f"{(struct.unpack('>I', digest[at : at + 4])[0] & 0x7FFFFFFF) % 1_000_000:06d}"


@dataclass
class Scene:
    server: Server
    clock: ManualClock
    alice: User
    secret: str = ""
    recovery: tuple[str, ...] = ()

    def code(self, ahead_ms: int = 0) -> str:
        return app_code(self.secret, self.clock.now_ms() + ahead_ms)

    async def api(self, what: str, **body: str) -> Answer:
        return await self.alice.client.request("POST", f"{API}/{what}", json=body)

    async def enrol(self) -> None:
        begun = (await self.api("begin", password=PASSWORD)).json
        self.secret = begun["secret"]
        confirmed = await self.api("confirm", code=self.code())
        self.recovery = tuple(confirmed.json["recovery_codes"])
        await self.clock.advance(60)

    async def log_in(self, password: str, **more: Any) -> Answer:
        identifier = {"type": "m.id.user", "user": "alice"}
        body = {"type": "m.login.password", "identifier": identifier, "password": password, **more}
        return await self.server.client.request("POST", "/_matrix/client/v3/login", json=body)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    clock = ManualClock(1_700_000_000_000)
    async with server_with(tmp_path, "totp", clock=clock) as server:
        await server.homeserver.accounts.accounts.create("alice", password=PASSWORD)
        yield Scene(server, clock, await server.user("alice"))


@pytest.mark.parametrize(("seconds", "code"), [(59, "287082"), (1111111109, "081804"), (20000000000, "353130")])
def test_codes_are_those_of_the_rfc(seconds: int, code: str) -> None:
    secret = b"12345678901234567890"
    assert code_at(secret, seconds // 30) == code
    assert find_step(secret, code, (seconds + 30) * 1000) == seconds // 30
    assert find_step(secret, code, (seconds + 90) * 1000) is None


async def test_who_has_none_logs_in_as_before(scene: Scene) -> None:
    assert (await scene.log_in(PASSWORD)).status == 200
    assert (await scene.log_in("wrong")).status == 403
    assert (await scene.alice.client.get(API)).json == {"enabled": False, "recovery_codes_left": 0}


async def test_enrolment_needs_the_password_and_a_code_of_the_app(scene: Scene) -> None:
    assert (await scene.api("begin", password="wrong")).status == 403
    assert (await scene.api("confirm", code="123456")).status == 403
    begun = (await scene.api("begin", password=PASSWORD)).json
    uri = urlsplit(begun["uri"])
    assert (uri.scheme, uri.netloc, parse_qs(uri.query)["secret"]) == ("otpauth", "totp", [begun["secret"]])
    assert (await scene.api("confirm", code="000000")).status == 403
    assert (await scene.log_in(PASSWORD)).status == 200
    scene.secret = begun["secret"]
    confirmed = await scene.api("confirm", code=scene.code())
    assert len(set(confirmed.json["recovery_codes"])) == 10
    assert (await scene.alice.client.get(API)).json == {"enabled": True, "recovery_codes_left": 10}
    assert (await scene.api("begin", password=PASSWORD)).status == 403


async def test_a_code_is_needed_and_may_be_typed_after_the_password(scene: Scene) -> None:
    await scene.enrol()
    refused = await scene.log_in(PASSWORD)
    assert (refused.status, refused.json["org.starling.totp"]) == (403, {"needed": True})
    assert (await scene.log_in(PASSWORD + scene.code())).status == 200
    await scene.clock.advance(30)
    assert (await scene.log_in(f"{PASSWORD} {scene.code()}")).status == 200
    await scene.clock.advance(30)
    assert (await scene.log_in(PASSWORD, **{"org.starling.totp": scene.code()})).status == 200
    assert (await scene.log_in(PASSWORD, **{"org.starling.totp": 7})).json["errcode"] == "M_BAD_JSON"
    await scene.clock.advance(30)
    assert (await scene.log_in("wrong" + scene.code())).status == 403
    assert (await scene.log_in("", **{"org.starling.totp": scene.code()})).status == 403


async def test_a_code_holds_once_and_for_its_time(scene: Scene) -> None:
    await scene.enrol()
    code = scene.code()
    assert (await scene.log_in(PASSWORD + code)).status == 200
    assert (await scene.log_in(PASSWORD + code)).status == 403
    assert (await scene.log_in(PASSWORD + scene.code(30_000))).status == 200
    assert (await scene.log_in(PASSWORD + scene.code(90_000))).status == 403
    await scene.clock.advance(90)
    assert (await scene.log_in(PASSWORD + scene.code(-90_000))).status == 403


async def test_a_recovery_code_holds_once(scene: Scene) -> None:
    await scene.enrol()
    first, second = scene.recovery[:2]
    assert (await scene.log_in(PASSWORD + first)).status == 200
    assert (await scene.log_in(PASSWORD + first)).status == 403
    assert (await scene.log_in(PASSWORD, **{"org.starling.totp": second.replace("-", "").upper()})).status == 200
    assert (await scene.alice.client.get(API)).json["recovery_codes_left"] == 8
    renewed = await scene.api("recovery_codes", code=scene.code())
    assert not set(renewed.json["recovery_codes"]) & set(scene.recovery)
    assert (await scene.log_in(PASSWORD + scene.recovery[2])).status == 403


async def test_guessing_is_stopped_even_for_who_knows_the_password(scene: Scene) -> None:
    await scene.enrol()
    right = scene.code()
    wrong = [f"{number:06d}" for number in range(14) if f"{number:06d}" != right][:10]
    assert [(await scene.log_in(PASSWORD + code)).status for code in wrong] == [403] * 10
    blocked = await scene.log_in(PASSWORD + right)
    assert (blocked.status, blocked.json["errcode"]) == (429, "M_LIMIT_EXCEEDED")


async def test_sensitive_requests_ask_for_it_too(scene: Scene) -> None:
    await scene.enrol()
    other = await scene.server.user("alice", device_id="OLD")
    path = f"/devices/{other.device_id}"
    challenge = await scene.alice.ask("DELETE", path, {})
    assert challenge.json["flows"] == [{"stages": ["m.login.password"]}]
    auth = {"type": "m.login.password", "session": challenge.json["session"]}
    assert (await scene.alice.ask("DELETE", path, {"auth": {**auth, "password": PASSWORD}})).status == 401
    both = {**auth, "password": PASSWORD + scene.code()}
    assert (await scene.alice.ask("DELETE", path, {"auth": both})).status == 200


async def test_the_servers_own_login_page_asks_for_it_too(scene: Scene) -> None:
    await scene.enrol()
    for password, is_in in ((PASSWORD, False), (PASSWORD + scene.code(), True)):
        browser = Browser(scene.server.client, scene.server.homeserver.settings.public_baseurl)
        await browser.open("/_starling/client/account")
        await browser.submit(username="alice", password=password)
        assert ("Your account" in browser.text) is is_in


async def test_it_is_removed_with_password_and_code_or_by_an_administrator(scene: Scene) -> None:
    await scene.enrol()
    assert (await scene.api("remove", password=PASSWORD, code="000000")).status == 403
    assert (await scene.api("remove", password="wrong", code=scene.code())).status == 403
    assert (await scene.api("remove", password=PASSWORD, code=scene.code())).status == 200
    assert (await scene.log_in(PASSWORD)).status == 200
    await scene.clock.advance(60)
    await scene.enrol()
    path = "/_starling/admin/v1/totp/@alice:example.org"
    assert (await scene.alice.client.request("DELETE", path)).status == 403
    admin = await scene.server.user("root", admin=True)
    assert (await admin.client.request("DELETE", path)).status == 200
    assert (await scene.log_in(PASSWORD)).status == 200


async def test_what_is_stored_tells_no_recovery_code(scene: Scene) -> None:
    await scene.enrol()
    plugin: Any = scene.server.homeserver.plugins.plugins.instances["totp"]
    kept = await plugin._context.store.load("recovery:")
    plain = scene.recovery[0].replace("-", "")
    assert any(key.endswith(hashlib.sha256(plain.encode()).hexdigest()) for key in kept)
    assert plain not in str(kept)
