"""Pushers and a push gateway on loopback: who is notified of what, in which words, and what happens when it fails."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from plugin_kit import loopback, server_with
from server_kit import Server, User

from homeserver.testing import path_of

PLUGIN = {"name": "push_gateway", "settings": {"allow_http": True}}
GATEWAY_PATH = "/_matrix/push/v1/notify"


@dataclass
class Gateway:
    """A push gateway that remembers what it was told, and answers as the test wants."""

    url: str = ""
    told: list[dict[str, Any]] = field(default_factory=list)
    answers: list[tuple[int, Any]] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def notify(self, request: web.Request) -> web.Response:
        notification = (await request.json())["notification"]
        status, body = self.answers.pop(0) if self.answers else (200, {"rejected": []})
        self.told.append({**notification, "answered": status})
        self.arrived.set()
        return web.json_response(body, status=status)

    async def wait_for(self, count: int) -> list[dict[str, Any]]:
        """The first `count` notifications, once they are here."""
        async with asyncio.timeout(10):
            while len(self.told) < count:
                self.arrived.clear()
                await self.arrived.wait()
        return self.told[:count]

    async def hears_nothing(self, seconds: float = 0.15) -> bool:
        before = len(self.told)
        await asyncio.sleep(seconds)
        return len(self.told) == before

    def pusher(self, **changes: Any) -> dict[str, Any]:
        data = {"url": self.url + GATEWAY_PATH, "colour": "green", **changes.pop("data", {})}
        return {
            "kind": "http",
            "app_id": "org.example.app",
            "pushkey": "key",
            "app_display_name": "App",
            "device_display_name": "Phone",
            "lang": "en",
            "data": data,
            **changes,
        }


@dataclass
class Scene:
    """Alice, who has a phone, and Bob, who writes to her."""

    server: Server
    gateway: Gateway
    alice: User
    bob: User
    room_id: str


@asynccontextmanager
async def scene(folder: Path, **sections: Any) -> AsyncIterator[Scene]:
    gateway = Gateway()
    async with (
        loopback({("POST", GATEWAY_PATH): gateway.notify}) as gateway.url,
        server_with(folder, PLUGIN, **sections) as server,
    ):
        alice, bob = await server.users("alice", "bob")
        room_id = await bob.create_room(invite=[alice.user_id], name="Kitchen")
        await alice.join(room_id)
        yield Scene(server, gateway, alice, bob, room_id)


@pytest.fixture
async def kitchen(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path) as made:
        await made.alice.call("POST", "/pushers/set", made.gateway.pusher())
        yield made


async def handled(server: Server) -> None:
    """Everything in the log has been turned into notifications, or into none."""
    await server.homeserver.followers.caught_up("push")


async def test_a_message_reaches_the_gateway_in_full(kitchen: Scene) -> None:
    event_id = await kitchen.bob.say(kitchen.room_id, "Dinner!")
    (told,) = await kitchen.gateway.wait_for(1)
    (device,) = told.pop("devices")
    assert told == {
        "event_id": event_id,
        "room_id": kitchen.room_id,
        "type": "m.room.message",
        "sender": "@bob:example.org",
        "sender_display_name": "bob",
        "room_name": "Kitchen",
        "prio": "high",
        "content": {"msgtype": "m.text", "body": "Dinner!"},
        "counts": {"unread": 1},
        "answered": 200,
    }
    assert device.pop("pushkey_ts") > 1_700_000_000
    assert device == {
        "app_id": "org.example.app",
        "pushkey": "key",
        "data": {"colour": "green"},
        "tweaks": {"sound": "default"},
    }


async def test_nobody_is_told_of_their_own_messages_nor_of_what_their_rules_pass_over(kitchen: Scene) -> None:
    await kitchen.alice.say(kitchen.room_id, "I am cooking")
    await kitchen.bob.send(kitchen.room_id, "m.room.message", {"msgtype": "m.notice", "body": "beep"})
    await kitchen.alice.call("PUT", path_of("pushrules", "global", "room", kitchen.room_id), {"actions": []})
    await kitchen.bob.say(kitchen.room_id, "unheard")
    await handled(kitchen.server)
    assert await kitchen.gateway.hears_nothing()


async def test_personal_rules_and_mentions_decide_on_tweaks(kitchen: Scene) -> None:
    rule = {
        "pattern": "cake",
        "actions": ["notify", {"set_tweak": "sound", "value": "yum"}, {"set_tweak": "highlight"}],
    }
    await kitchen.alice.call("PUT", path_of("pushrules", "global", "content", "cake"), rule)
    await kitchen.bob.say(kitchen.room_id, "there is cake")
    (told,) = await kitchen.gateway.wait_for(1)
    assert told["devices"][0]["tweaks"] == {"sound": "yum", "highlight": True}


async def test_an_invitation_names_its_target(kitchen: Scene) -> None:
    other = await kitchen.bob.create_room()
    await kitchen.bob.invite(other, kitchen.alice)
    (told,) = await kitchen.gateway.wait_for(1)
    assert (told["type"], told["room_id"], told["user_is_target"]) == ("m.room.member", other, True)


async def test_ids_only_for_those_who_want_no_more(kitchen: Scene) -> None:
    await kitchen.alice.call("POST", "/pushers/set", kitchen.gateway.pusher(data={"format": "event_id_only"}))
    event_id = await kitchen.bob.say(kitchen.room_id, "secret")
    (told,) = await kitchen.gateway.wait_for(1)
    assert set(told) == {"event_id", "room_id", "counts", "prio", "devices", "answered"}
    assert (told["event_id"], told["room_id"]) == (event_id, kitchen.room_id)
    assert told["devices"][0]["data"] == {"colour": "green", "format": "event_id_only"}


async def test_without_content_the_message_stays_at_home(tmp_path: Path) -> None:
    async with scene(tmp_path, push={"include_content": False}) as made:
        await made.alice.call("POST", "/pushers/set", made.gateway.pusher())
        await made.bob.say(made.room_id, "secret")
        (told,) = await made.gateway.wait_for(1)
        assert "content" not in told
        assert told["type"] == "m.room.message"


async def test_reading_on_one_device_lowers_the_count_on_the_others(kitchen: Scene) -> None:
    first = await kitchen.bob.say(kitchen.room_id, "one")
    await kitchen.bob.say(kitchen.room_id, "two")
    told = await kitchen.gateway.wait_for(2)
    assert [one["counts"]["unread"] for one in told][-1] == 2
    await kitchen.alice.read(kitchen.room_id, first)
    badge = (await kitchen.gateway.wait_for(3))[2]
    assert badge["counts"] == {"unread": 1}
    assert "event_id" not in badge
    assert badge["devices"][0]["pushkey"] == "key"


async def test_what_fails_is_tried_again_until_it_gets_through(kitchen: Scene) -> None:
    kitchen.gateway.answers = [(500, {}), (200, "no object")]
    event_id = await kitchen.bob.say(kitchen.room_id, "again")
    told = await kitchen.gateway.wait_for(2)
    assert [(one["event_id"], one["answered"]) for one in told] == [(event_id, 500), (event_id, 200)]
    assert await kitchen.gateway.hears_nothing()


async def test_notifications_survive_a_restart(tmp_path: Path) -> None:
    gateway = Gateway()
    async with loopback({("POST", GATEWAY_PATH): gateway.notify}) as gateway.url:
        async with server_with(tmp_path, PLUGIN) as server:
            alice, bob = await server.users("alice", "bob")
            room_id = await bob.create_room(invite=[alice.user_id])
            await alice.join(room_id)
            await alice.call("POST", "/pushers/set", gateway.pusher())
            gateway.answers = [(503, {})]
            event_id = await bob.say(room_id, "remember me")
            await gateway.wait_for(1)
        async with server_with(tmp_path, PLUGIN):
            told = await gateway.wait_for(2)
    assert [one["event_id"] for one in told] == [event_id, event_id]


async def test_what_has_been_read_or_redacted_in_the_meantime_is_not_sent_again(kitchen: Scene) -> None:
    kitchen.gateway.answers = [(500, {})]
    event_id = await kitchen.bob.say(kitchen.room_id, "oops")
    await kitchen.gateway.wait_for(1)
    await kitchen.bob.redact(kitchen.room_id, event_id)
    await handled(kitchen.server)
    assert await kitchen.gateway.hears_nothing(1.4)


async def test_a_rejected_key_ends_its_pusher(kitchen: Scene) -> None:
    kitchen.gateway.answers = [(200, {"rejected": ["key"]})]
    await kitchen.bob.say(kitchen.room_id, "one")
    await kitchen.gateway.wait_for(1)
    async with asyncio.timeout(5):
        while (await kitchen.alice.call("GET", "/pushers"))["pushers"]:
            await asyncio.sleep(0.01)
    await kitchen.bob.say(kitchen.room_id, "two")
    assert await kitchen.gateway.hears_nothing()


async def test_pushers_are_listed_changed_and_deleted(kitchen: Scene) -> None:
    pusher = kitchen.gateway.pusher(profile_tag="tag", lang="de")
    await kitchen.alice.call("POST", "/pushers/set", pusher)
    shown = {"org.matrix.msc3881.enabled": True, "org.matrix.msc3881.device_id": kitchen.alice.device_id}
    assert (await kitchen.alice.call("GET", "/pushers"))["pushers"] == [{**pusher, **shown}]
    await kitchen.alice.call("POST", "/pushers/set", {"kind": None, "app_id": "org.example.app", "pushkey": "key"})
    assert (await kitchen.alice.call("GET", "/pushers"))["pushers"] == []


async def test_a_key_has_one_user_unless_it_is_appended(kitchen: Scene) -> None:
    async def owners() -> list[int]:
        return [len((await user.call("GET", "/pushers"))["pushers"]) for user in (kitchen.alice, kitchen.bob)]

    await kitchen.bob.call("POST", "/pushers/set", kitchen.gateway.pusher(append=True))
    assert await owners() == [1, 1]
    await kitchen.bob.call("POST", "/pushers/set", kitchen.gateway.pusher())
    assert await owners() == [0, 1]


async def test_pushers_go_with_the_device(kitchen: Scene) -> None:
    phone = await kitchen.server.user("alice", device_id="PHONE")
    await phone.call("POST", "/pushers/set", kitchen.gateway.pusher(pushkey="phone"))
    await phone.call("POST", "/logout", {})
    assert [one["pushkey"] for one in (await kitchen.alice.call("GET", "/pushers"))["pushers"]] == ["key"]


Change = Callable[[dict[str, Any]], object]


MISTAKES: list[tuple[Change, str]] = [
    (lambda body: body.pop("app_id"), "M_MISSING_PARAM"),
    (lambda body: body.pop("kind"), "M_MISSING_PARAM"),
    (lambda body: body.pop("lang"), "M_MISSING_PARAM"),
    (lambda body: body["data"].pop("url"), "M_MISSING_PARAM"),
    (lambda body: body.update(kind="email"), "M_INVALID_PARAM"),
    (lambda body: body.update(pushkey="k" * 513), "M_INVALID_PARAM"),
    (lambda body: body.update(app_id="a" * 65), "M_INVALID_PARAM"),
    (lambda body: body.update(data=[]), "M_BAD_JSON"),
    (lambda body: body["data"].update(url="ftp://example.org" + GATEWAY_PATH), "M_INVALID_PARAM"),
    (lambda body: body["data"].update(url="https://example.org/elsewhere"), "M_INVALID_PARAM"),
    (lambda body: body["data"].update(format="everything"), "M_INVALID_PARAM"),
]


async def test_what_is_no_pusher_is_refused(kitchen: Scene) -> None:
    for change, errcode in MISTAKES:
        body = kitchen.gateway.pusher(pushkey="new")
        change(body)
        refused = await kitchen.alice.ask("POST", "/pushers/set", body)
        assert (refused.status, refused.json["errcode"]) == (400, errcode), body
    assert len((await kitchen.alice.call("GET", "/pushers"))["pushers"]) == 1


async def test_gateways_without_tls_or_outside_the_list_are_refused(tmp_path: Path) -> None:
    sections = {"push": {"allowed_gateways": ["*.example.org"]}}
    async with server_with(tmp_path, "push_gateway", **sections) as server:
        alice = await server.user("alice")
        pusher = Gateway(url="http://push.example.org").pusher()
        refused = await alice.ask("POST", "/pushers/set", pusher)
        assert refused.json["error"] == "`data.url` must be an https URL."
        elsewhere = Gateway(url="https://push.example.com").pusher()
        assert (await alice.ask("POST", "/pushers/set", elsewhere)).status == 400
        await alice.call("POST", "/pushers/set", Gateway(url="https://push.example.org").pusher())


async def test_without_the_plugin_there_are_no_pushers(tmp_path: Path) -> None:
    async with server_with(tmp_path) as server:
        alice = await server.user("alice")
        refused = await alice.ask("POST", "/pushers/set", Gateway(url="https://push.example.org").pusher())
        assert (refused.status, refused.json["errcode"]) == (400, "M_INVALID_PARAM")


async def test_one_device_pauses_the_pusher_of_another(kitchen: Scene) -> None:
    laptop = await kitchen.server.user("alice", device_id="LAPTOP")
    await laptop.call("POST", "/pushers/set", kitchen.gateway.pusher(**{"org.matrix.msc3881.enabled": False}))
    (pusher,) = (await laptop.call("GET", "/pushers"))["pushers"]
    assert pusher["org.matrix.msc3881.enabled"] is False
    assert pusher["org.matrix.msc3881.device_id"] == kitchen.alice.device_id, "it is still the phone's"
    await kitchen.bob.say(kitchen.room_id, "Unheard")
    await handled(kitchen.server)
    assert await kitchen.gateway.hears_nothing()

    await laptop.call("POST", "/pushers/set", kitchen.gateway.pusher(**{"org.matrix.msc3881.enabled": True}))
    heard = await kitchen.bob.say(kitchen.room_id, "Heard")
    (told,) = await kitchen.gateway.wait_for(1)
    assert told["event_id"] == heard
    wrong = await laptop.ask("POST", "/pushers/set", kitchen.gateway.pusher(**{"org.matrix.msc3881.enabled": "no"}))
    assert (wrong.status, wrong.json["errcode"]) == (400, "M_BAD_JSON")
    versions = (await laptop.client.request("GET", "/_matrix/client/versions")).json
    assert versions["unstable_features"]["org.matrix.msc3881"] is True
