"""What a service is told beside events: typing, receipts, presence, messages to its devices, keys and device lists."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from appservices.bridge import SENDER, Bridge, Puppeteer, bridged_room
from server_kit import Server, running_server

from homeserver.testing import path_of

BOB = "@_irc_bob:example.org"
ALL_NAMES = {"receive_ephemeral": True, "de.sorunome.msc2409.push_ephemeral": True, "org.matrix.msc3202": True}


@pytest.fixture
async def server(bridge: Bridge, registration: Path, tmp_path: Path) -> AsyncIterator[Server]:
    registration.write_bytes(orjson.dumps(bridge.registration(**ALL_NAMES)))
    sections: dict[str, Any] = {"presence": {"enabled": True}}
    async with running_server(tmp_path, application_services=[str(registration)], **sections) as running:
        yield running


def of_type(bridge: Bridge, event_type: str, key: str = "ephemeral") -> list[Any]:
    return [event for event in bridge.told(key) if event["type"] == event_type]


async def test_typing_receipts_and_presence(server: Server, bridge: Bridge, puppeteer: Puppeteer) -> None:
    alice = await server.user("alice")
    elsewhere = await alice.create_room()
    room_id = await bridged_room(server, puppeteer, alice)
    event_id = await alice.say(room_id, "hello")
    for room in (elsewhere, room_id):
        await alice.call("PUT", path_of("rooms", room, "typing", alice.user_id), {"typing": True, "timeout": 30_000})
    await bridge.until(lambda: of_type(bridge, "m.typing"))
    assert of_type(bridge, "m.typing")[0] == {
        "type": "m.typing",
        "room_id": room_id,
        "content": {"user_ids": [alice.user_id]},
    }
    await alice.read(elsewhere, await alice.say(elsewhere, "by myself"))
    await alice.read(room_id, event_id)
    await bridge.until(lambda: of_type(bridge, "m.receipt"))
    receipt = of_type(bridge, "m.receipt", "de.sorunome.msc2409.ephemeral")[0]
    assert receipt["room_id"] == room_id
    assert receipt["content"][event_id]["m.read"][alice.user_id]["ts"] > 0
    await alice.call("PUT", path_of("presence", alice.user_id, "status"), {"presence": "online", "status_msg": "in"})
    await bridge.until(lambda: of_type(bridge, "m.presence"))
    presence = of_type(bridge, "m.presence")[-1]
    assert (presence["sender"], presence["content"]["presence"]) == (alice.user_id, "online")
    assert {event["room_id"] for event in bridge.told("ephemeral") if "room_id" in event} == {room_id}


async def test_private_receipts_stay_private(server: Server, bridge: Bridge, puppeteer: Puppeteer) -> None:
    alice = await server.user("alice")
    room_id = await bridged_room(server, puppeteer, alice)
    event_id = await alice.say(room_id, "hello")
    await alice.read(room_id, event_id, "m.read.private")
    own = path_of("rooms", room_id, "receipt", "m.read.private", event_id)
    await puppeteer.call("POST", own, {}, user="_irc_bob")
    await bridge.until(lambda: of_type(bridge, "m.receipt"))
    await alice.say(room_id, "the end")
    await bridge.body_arrives("the end")
    readers = [user for receipt in of_type(bridge, "m.receipt") for user in _readers(receipt)]
    assert readers == [BOB]


def _readers(receipt: Any) -> list[str]:
    return [user for by_type in receipt["content"].values() for users in by_type.values() for user in users]


async def test_messages_to_devices_and_keys(server: Server, bridge: Bridge, puppeteer: Puppeteer) -> None:
    alice = await server.user("alice")
    room_id = await bridged_room(server, puppeteer, alice)
    await puppeteer.ask("PUT", "/devices/BOBS", {}, user="_irc_bob")
    keys = {"one_time_keys": {"signed_curve25519:AAAAAQ": {"key": "x", "signatures": {BOB: {"ed25519:BOBS": "y"}}}}}
    await puppeteer.call("POST", "/keys/upload", keys, user="_irc_bob", device_id="BOBS")
    counts = "org.matrix.msc3202.device_one_time_keys_count"
    await bridge.until(lambda: [body for _, body in bridge.transactions if counts in body])
    told = [body for _, body in bridge.transactions if counts in body][-1]
    assert told[counts][BOB]["BOBS"] == {"signed_curve25519": 1}
    assert told["org.matrix.msc3202.device_unused_fallback_key_types"] == {BOB: {"BOBS": []}}

    secret = {"messages": {BOB: {"BOBS": {"secret": 1}}, alice.user_id: {"*": {"secret": 2}}}}
    await alice.call("PUT", path_of("sendToDevice", "m.secret", "1"), secret)
    await bridge.until(lambda: bridge.told("to_device"))
    message = {"type": "m.secret", "sender": alice.user_id, "content": {"secret": 1}}
    expected = [{**message, "to_user_id": BOB, "to_device_id": "BOBS"}]
    assert bridge.told("to_device") == bridge.told("de.sorunome.msc2409.to_device") == expected
    await alice.say(room_id, "the end")
    await bridge.body_arrives("the end")
    assert bridge.told("to_device") == expected, "what has arrived does not come again"

    # Her new device is of interest, because she shares a room with the service.
    stranger = await server.user("stranger")
    for user in (stranger, alice):
        device = {"user_id": user.user_id, "device_id": user.device_id, "algorithms": ["m.x"], "keys": {}}
        device["signatures"] = {}
        device["keys"] = {f"ed25519:{user.device_id}": "k"}
        await user.ask("POST", "/keys/upload", {"device_keys": device})

    def changed() -> set[str]:
        lists = [body.get("org.matrix.msc3202.device_lists", {}) for _, body in bridge.transactions]
        return {user for one in lists for user in one.get("changed", ())}

    await bridge.until(lambda: alice.user_id in changed())
    assert stranger.user_id not in changed()


async def test_messages_wait_for_a_service_that_is_down(bridge: Bridge, registration: Path, tmp_path: Path) -> None:
    registration.write_bytes(orjson.dumps(bridge.registration(**ALL_NAMES)))
    bridge.status = 500
    async with running_server(tmp_path, application_services=[str(registration)]) as server:
        puppeteer, alice = Puppeteer(server), await server.user("alice")
        await bridged_room(server, puppeteer, alice)
        await bridge.until(lambda: bridge.asked)
        await puppeteer.ask("PUT", "/devices/BOTS", {})
        for number in range(3):
            content = {"messages": {SENDER: {"*": {"number": number}}}}
            await alice.call("PUT", path_of("sendToDevice", "m.x", str(number)), content)
    bridge.status = 200
    async with running_server(tmp_path, application_services=[str(registration)]) as server:
        await bridge.until(lambda: len(bridge.told("to_device")) == 3, 10)
    assert [message["content"]["number"] for message in bridge.told("to_device")] == [0, 1, 2]


async def test_who_asks_for_nothing_is_told_nothing(bridge: Bridge, registration: Path, tmp_path: Path) -> None:
    registration.write_bytes(orjson.dumps(bridge.registration()))
    async with running_server(tmp_path, application_services=[str(registration)]) as server:
        puppeteer, alice = Puppeteer(server), await server.user("alice")
        room_id = await bridged_room(server, puppeteer, alice)
        await alice.call("PUT", path_of("rooms", room_id, "typing", alice.user_id), {"typing": True, "timeout": 9_000})
        await alice.read(room_id, await alice.say(room_id, "hello"))
        await alice.say(room_id, "the end")
        await bridge.body_arrives("the end")
    assert {key for _, body in bridge.transactions for key in body} == {"events"}
