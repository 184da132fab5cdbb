"""Who an application service is: its sender, users it acts for, devices, registration and login, reserved names."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from appservices.bridge import AS_TOKEN, SENDER, Puppeteer, bridged_room
from server_kit import V3, Server, running_server

from homeserver.testing import path_of

REGISTER = {"type": "m.login.application_service"}


async def test_the_sender_exists_by_itself(puppeteer: Puppeteer) -> None:
    assert (await puppeteer.call("GET", "/account/whoami"))["user_id"] == SENDER
    assert (await puppeteer.call("GET", f"/profile/{SENDER}"))["displayname"] == "_irc_bot"


async def test_it_acts_for_its_users_and_for_nobody_else(server: Server, puppeteer: Puppeteer) -> None:
    early = await puppeteer.ask("GET", "/account/whoami", user="_irc_bob")
    assert (early.status, early.json["errcode"]) == (403, "M_FORBIDDEN")
    assert await puppeteer.register("_irc_bob") == "@_irc_bob:example.org"
    assert (await puppeteer.call("GET", "/account/whoami", user="_irc_bob"))["user_id"] == "@_irc_bob:example.org"
    alice = await server.user("alice")
    stranger = await puppeteer.ask("GET", "/account/whoami", user="alice")
    assert (stranger.status, stranger.json["errcode"]) == (403, "M_FORBIDDEN")
    assert (await alice.ask("GET", "/account/whoami", user_id="@_irc_bob:example.org")).json["user_id"] == alice.user_id


async def test_a_deactivated_or_locked_user_is_nobody_to_act_for(server: Server, puppeteer: Puppeteer) -> None:
    await puppeteer.register("_irc_bob")
    await puppeteer.call("GET", "/account/whoami", user="_irc_bob")
    accounts = server.homeserver.accounts.accounts
    await accounts.set_locked("@_irc_bob:example.org", True)
    assert (await puppeteer.ask("GET", "/account/whoami", user="_irc_bob")).json["errcode"] == "M_USER_LOCKED"
    await accounts.set_locked("@_irc_bob:example.org", False)
    await puppeteer.call("GET", "/account/whoami", user="_irc_bob")
    await accounts.deactivate("@_irc_bob:example.org")
    assert (await puppeteer.ask("GET", "/account/whoami", user="_irc_bob")).json["errcode"] == "M_USER_DEACTIVATED"


async def test_devices_without_a_login(puppeteer: Puppeteer) -> None:
    await puppeteer.register("_irc_bob")
    unknown = await puppeteer.ask("GET", "/account/whoami", user="_irc_bob", device_id="NEW")
    assert (unknown.status, unknown.json["errcode"]) == (400, "M_UNKNOWN_DEVICE")
    assert (await puppeteer.ask("PUT", "/devices/NEW", {"display_name": "Bob"}, user="_irc_bob")).status == 201
    assert (await puppeteer.ask("PUT", "/devices/NEW", {}, user="_irc_bob")).status == 200
    for name in ("device_id", "org.matrix.msc3202.device_id"):
        told = await puppeteer.call("GET", "/account/whoami", user="_irc_bob", **{name: "NEW"})
        assert told["device_id"] == "NEW"
    assert (await puppeteer.ask("DELETE", "/devices/NEW", {}, user="_irc_bob")).status == 200
    assert (await puppeteer.ask("GET", "/account/whoami", user="_irc_bob", device_id="NEW")).status == 400


async def test_login(server: Server, puppeteer: Puppeteer) -> None:
    await puppeteer.register("_irc_bob")

    def login(name: str) -> dict[str, Any]:
        return {**REGISTER, "identifier": {"type": "m.id.user", "user": name}}

    session = await puppeteer.call("POST", "/login", login("_irc_bob"))
    bob = server.client.with_token(session["access_token"])
    assert (await bob.get(f"{V3}/account/whoami")).json["user_id"] == "@_irc_bob:example.org"
    await server.user("alice")
    assert (await puppeteer.ask("POST", "/login", login("alice"))).json["errcode"] == "M_EXCLUSIVE"
    without = await server.client.post(f"{V3}/login", login("_irc_bob"))
    assert (without.status, without.json["errcode"]) == (401, "M_MISSING_TOKEN")
    wrong = await server.client.post(f"{V3}/login", login("_irc_bob"), token="nonsense")
    assert (wrong.status, wrong.json["errcode"]) == (401, "M_UNKNOWN_TOKEN")


async def test_reserved_names(server: Server, puppeteer: Puppeteer) -> None:
    body = {"username": "_irc_eve", "password": "a long password", "auth": {"type": "m.login.dummy"}}
    assert (await server.client.post(f"{V3}/register", body)).json["errcode"] == "M_EXCLUSIVE"
    available = await server.client.get(f"{V3}/register/available?username=_irc_eve")
    assert (available.status, available.json["errcode"]) == (400, "M_EXCLUSIVE")
    outside = await puppeteer.ask("POST", "/register", {**REGISTER, "username": "eve"})
    assert (outside.status, outside.json["errcode"]) == (400, "M_EXCLUSIVE")


async def test_reserved_aliases(server: Server, puppeteer: Puppeteer) -> None:
    alice = await server.user("alice")
    room_id = await bridged_room(server, puppeteer, alice)
    reserved = path_of("directory", "room", "#_irc_chat:example.org")
    assert (await alice.ask("PUT", reserved, {"room_id": room_id})).json["errcode"] == "M_EXCLUSIVE"
    assert (await alice.ask("POST", "/createRoom", {"room_alias_name": "_irc_x"})).json["errcode"] == "M_EXCLUSIVE"
    free = path_of("directory", "room", "#chat:example.org")
    assert (await puppeteer.ask("PUT", free, {"room_id": room_id}, user="_irc_bob")).json["errcode"] == "M_EXCLUSIVE"
    await puppeteer.call("PUT", reserved, {"room_id": room_id}, user="_irc_bob")
    assert (await alice.ask("DELETE", reserved)).json["errcode"] == "M_EXCLUSIVE"
    # Another of its users: the service has full control over the alias, whoever made it.
    await puppeteer.call("DELETE", reserved)
    assert (await alice.ask("GET", reserved)).status == 404
    made = await puppeteer.call("POST", "/createRoom", {"room_alias_name": "_irc_y"})
    assert made["room_id"]


async def test_timestamps(server: Server, puppeteer: Puppeteer) -> None:
    alice = await server.user("alice")
    room_id = await bridged_room(server, puppeteer, alice)
    message = path_of("rooms", room_id, "send", "m.room.message", "t1")
    content = {"msgtype": "m.text", "body": "long ago"}
    sent = await puppeteer.call("PUT", message, content, user="_irc_bob", ts="1234567890")
    event = await alice.call("GET", path_of("rooms", room_id, "event", sent["event_id"]))
    assert (event["origin_server_ts"], event["sender"]) == (1234567890, "@_irc_bob:example.org")
    again = await puppeteer.call("PUT", message, content, user="_irc_bob", ts="1234567890")
    assert again == sent
    name = path_of("rooms", room_id, "state", "m.room.member", "@_irc_bob:example.org")
    changed = await puppeteer.call(
        "PUT", name, {"membership": "join", "displayname": "B"}, user="_irc_bob", ts="1234567891"
    )
    event = await alice.call("GET", path_of("rooms", room_id, "event", changed["event_id"]))
    assert event["origin_server_ts"] == 1234567891
    assert (await puppeteer.ask("PUT", message + "2", content, user="_irc_bob", ts="soon")).status == 400


async def test_a_token_of_the_service_is_not_good_for_more(server: Server) -> None:
    assert (await server.client.get(f"{V3}/account/whoami", token=AS_TOKEN[:-1])).status == 401
    alice = await server.user("alice")
    network = path_of("directory", "list", "appservice", "irc", "!room:example.org")
    assert (await alice.ask("PUT", network, {"visibility": "public"})).status == 403


async def test_its_users_are_not_put_into_rooms(registration: Path, tmp_path: Path) -> None:
    sections = {
        "application_services": [str(registration)],
        "registration": {"mode": "open", "auto_join_rooms": ["#lobby:example.org"]},
    }
    async with running_server(tmp_path, **sections) as server:
        root = await server.user("root")
        lobby = await root.create_room(room_alias_name="lobby", preset="public_chat")
        await Puppeteer(server).register("_irc_bob")
        alice = await server.user("alice")
        async with asyncio.timeout(5):
            while lobby not in (await alice.call("GET", "/joined_rooms"))["joined_rooms"]:
                await asyncio.sleep(0.01)
        members = await root.call("GET", path_of("rooms", lobby, "joined_members"))
        assert members["joined"].keys() == {root.user_id, alice.user_id}
