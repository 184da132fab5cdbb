"""What a service is asked: for users and rooms that are not there yet, for places of its network, whether it lives."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
from appservices.bridge import HS_TOKEN, Asked, Bridge, Puppeteer, bridged_room
from server_kit import Server, running_server

from homeserver.testing import path_of

PING = "/_matrix/client/v1/appservice/irc/ping"


async def test_an_alias_is_made_on_demand(server: Server, bridge: Bridge, puppeteer: Puppeteer) -> None:
    async def make(asked: Asked) -> tuple[int, Any]:
        # While it works it looks whether somebody else was faster.
        assert (await puppeteer.ask("GET", path_of("directory", "room", "#_irc_chat:example.org"))).status == 404
        await puppeteer.call("POST", "/createRoom", {"room_alias_name": "_irc_chat", "preset": "public_chat"})
        return 200, {}

    bridge.answers["/_matrix/app/v1/rooms/"] = make
    alice = await server.user("alice")
    joined = await alice.call("POST", path_of("join", "#_irc_chat:example.org"), {})
    assert joined["room_id"] in (await alice.call("GET", "/joined_rooms"))["joined_rooms"]
    asked = [one for one in bridge.asked if "/rooms/" in one.path]
    assert [(one.path, one.token) for one in asked] == [("/_matrix/app/v1/rooms/%23_irc_chat%3Aexample.org", HS_TOKEN)]
    assert (await alice.ask("POST", path_of("join", "#other:example.org"), {})).status == 404
    assert len([one for one in bridge.asked if "/rooms/" in one.path]) == 1


async def test_a_denied_name_is_not_asked_for_again_at_once(server: Server, bridge: Bridge) -> None:
    alice = await server.user("alice")
    for _ in range(3):
        answer = await alice.ask("GET", path_of("directory", "room", "#_irc_no:example.org"))
        assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")
    assert len(bridge.asked) == 1


async def test_users_are_made_on_demand(server: Server, bridge: Bridge, puppeteer: Puppeteer) -> None:
    async def make(asked: Asked) -> tuple[int, Any]:
        name = "_irc_carol" if "carol" in asked.path else "_irc_dave"
        user_id = await puppeteer.register(name)
        field = path_of("profile", user_id, "displayname")
        await puppeteer.call("PUT", field, {"displayname": name.upper()}, user=name)
        return 200, {}

    bridge.answers["/_matrix/app/v1/users/"] = make
    alice = await server.user("alice")
    assert (await alice.call("GET", path_of("profile", "@_irc_carol:example.org")))["displayname"] == "_IRC_CAROL"
    room_id = await alice.create_room()
    await alice.call("POST", path_of("rooms", room_id, "invite"), {"user_id": "@_irc_dave:example.org"})
    member = await alice.call("GET", path_of("rooms", room_id, "state", "m.room.member", "@_irc_dave:example.org"))
    assert member["displayname"] == "_IRC_DAVE"
    assert (await alice.ask("GET", path_of("profile", "@nobody:example.org"))).status == 404


async def test_no_answer_in_time_is_a_408(bridge: Bridge, registration: Path, tmp_path: Path) -> None:
    async def dawdle(_: Asked) -> tuple[int, Any]:
        await asyncio.sleep(1)
        return 404, {}

    bridge.answers["/_matrix/app/v1/rooms/"] = dawdle
    section = {"registrations": [str(registration)], "query_timeout": "50ms"}
    async with running_server(tmp_path, application_services=section) as server:
        alice = await server.user("alice")
        assert (await alice.ask("GET", path_of("directory", "room", "#_irc_slow:example.org"))).status == 408


async def test_ping(server: Server, bridge: Bridge, puppeteer: Puppeteer) -> None:
    async def fine(asked: Asked) -> tuple[int, Any]:
        return 200, {}

    async def refuse(asked: Asked) -> tuple[int, Any]:
        return 403, {"errcode": "M_FORBIDDEN"}

    bridge.answers["/_matrix/app/v1/ping"] = fine
    assert (await puppeteer.call("POST", PING, {"transaction_id": "meow"}))["duration_ms"] >= 0
    asked = bridge.asked[-1]
    assert (asked.method, asked.path, asked.token) == ("POST", "/_matrix/app/v1/ping", HS_TOKEN)
    assert asked.body == {"transaction_id": "meow"}
    bridge.answers["/_matrix/app/v1/ping"] = refuse
    bad = await puppeteer.ask("POST", PING, {})
    assert (bad.status, bad.json["errcode"], bad.json["status"]) == (502, "M_BAD_STATUS", 403)
    assert orjson.loads(bad.json["body"]) == {"errcode": "M_FORBIDDEN"}
    other = await puppeteer.ask("POST", PING.replace("irc", "other"), {})
    assert (other.status, other.json["errcode"]) == (403, "M_FORBIDDEN")
    alice = await server.user("alice")
    stranger = await alice.client.request("POST", PING, json={})
    assert (stranger.status, stranger.json["errcode"]) == (403, "M_FORBIDDEN")


async def test_ping_without_anybody_there(bridge: Bridge, registration: Path, tmp_path: Path) -> None:
    registration.write_bytes(orjson.dumps(bridge.registration(url="http://127.0.0.1:1")))
    async with running_server(tmp_path, application_services=[str(registration)]) as server:
        answer = await Puppeteer(server).ask("POST", PING, {})
        assert (answer.status, answer.json["errcode"]) == (502, "M_CONNECTION_FAILED")


async def test_third_party_networks(bridge: Bridge, registration: Path, tmp_path: Path) -> None:
    protocol = {
        "user_fields": ["nick"],
        "location_fields": ["channel"],
        "icon": "mxc://x/y",
        "field_types": {},
        "instances": [{"network_id": "libera", "desc": "Libera", "fields": {}}],
    }
    place = {"alias": "#_irc_chat:example.org", "protocol": "irc", "fields": {"channel": "#chat"}}

    async def protocol_of(_: Asked) -> tuple[int, Any]:
        return 200, protocol

    async def places(asked: Asked) -> tuple[int, Any]:
        return 200, [place] if asked.query in ({"channel": "#chat"}, {"alias": place["alias"]}) else []

    bridge.answers["/_matrix/app/v1/thirdparty/protocol/irc"] = protocol_of
    bridge.answers["/_matrix/app/v1/thirdparty/location"] = places
    registration.write_bytes(orjson.dumps(bridge.registration(protocols=["irc"])))
    async with running_server(tmp_path, application_services=[str(registration)]) as server:
        puppeteer, alice = Puppeteer(server), await server.user("alice")
        known = await alice.call("GET", "/thirdparty/protocols")
        instance = known["irc"]["instances"][0]
        assert (instance["network_id"], instance["instance_id"]) == ("libera", "irc|libera")
        assert await alice.call("GET", "/thirdparty/protocol/irc") == known["irc"]
        assert (await alice.ask("GET", "/thirdparty/protocol/xmpp")).status == 404
        assert await alice.call("GET", "/thirdparty/location/irc", channel="#chat") == [place]
        assert await alice.call("GET", "/thirdparty/location/irc", channel="#other") == []
        assert await alice.call("GET", "/thirdparty/location", alias=place["alias"]) == [place]
        assert (await alice.ask("GET", "/thirdparty/user/xmpp")).status == 404

        room_id = await bridged_room(server, puppeteer, alice)
        listed = path_of("directory", "list", "appservice", "libera", room_id)
        await puppeteer.call("PUT", listed, {"visibility": "public"})

        async def rooms(body: dict[str, Any]) -> list[str]:
            return [room["room_id"] for room in (await alice.call("POST", "/publicRooms", body))["chunk"]]

        assert await rooms({}) == []
        assert await rooms({"third_party_instance_id": "irc|libera"}) == [room_id]
        assert await rooms({"third_party_instance_id": "irc|other"}) == []
        assert await rooms({"include_all_networks": True}) == [room_id]
        await puppeteer.call("PUT", listed, {"visibility": "private"})
        assert await rooms({"include_all_networks": True}) == []
