"""createRoom: presets, versions, what it refuses."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from server_kit import SERVER, Server

from homeserver.protocol.room_versions import ROOM_VERSIONS
from homeserver.testing import path_of


async def _state(user: Any, room_id: str) -> dict[tuple[str, str], Any]:
    events = await user.call("GET", path_of("rooms", room_id, "state"))
    return {(event["type"], event["state_key"]): event for event in events}


@pytest.mark.parametrize("version", list(ROOM_VERSIONS))
async def test_a_room_of_every_version_can_be_talked_in(server: Server, version: str) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(room_version=version, invite=[bob.user_id], name="A room")
    await bob.join(room_id)
    event_id = await bob.say(room_id, "hello")
    shown = await alice.call("GET", path_of("rooms", room_id, "event", event_id))
    assert shown["content"]["body"] == "hello"
    state = await _state(alice, room_id)
    assert state["m.room.create", ""]["content"]["room_version"] == version
    assert ("creator" in state["m.room.create", ""]["content"]) == ROOM_VERSIONS[version].auth.creator_in_content


async def test_presets(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    expected = {
        "private_chat": ("invite", "shared", "can_join"),
        "trusted_private_chat": ("invite", "shared", "can_join"),
        "public_chat": ("public", "shared", None),
    }
    for preset, (join_rule, visibility, guests) in expected.items():
        state = await _state(alice, await alice.create_room(preset=preset, invite=[bob.user_id], room_version="11"))
        assert state["m.room.join_rules", ""]["content"] == {"join_rule": join_rule}
        assert state["m.room.history_visibility", ""]["content"] == {"history_visibility": visibility}
        access = state.get(("m.room.guest_access", ""))
        assert (access["content"]["guest_access"] if access else None) == guests
        levels = state["m.room.power_levels", ""]["content"]["users"]
        assert levels.get(bob.user_id) == (100 if preset == "trusted_private_chat" else None)


async def test_creators_of_version_12_are_in_no_power_levels(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(preset="trusted_private_chat", invite=[bob.user_id], room_version="12")
    state = await _state(alice, room_id)
    assert state["m.room.create", ""]["content"]["additional_creators"] == [bob.user_id]
    assert state["m.room.power_levels", ""]["content"]["users"] == {}
    assert state["m.room.power_levels", ""]["content"]["events"]["m.room.tombstone"] == 150
    assert room_id == "!" + state["m.room.create", ""]["event_id"][1:]


async def test_initial_state_takes_the_place_of_what_the_preset_sets(server: Server) -> None:
    (alice,) = await server.users("alice")
    encryption = {"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
    history = {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "joined"}}
    room_id = await alice.create_room(initial_state=[encryption, history], topic="About us")
    state = await _state(alice, room_id)
    assert state["m.room.encryption", ""]["content"] == encryption["content"]
    assert state["m.room.history_visibility", ""]["content"] == history["content"]
    assert state["m.room.topic", ""]["content"]["topic"] == "About us"


@pytest.mark.parametrize(
    ("wanted", "status", "errcode"),
    [
        ({"room_version": "99"}, 400, "M_UNSUPPORTED_ROOM_VERSION"),
        ({"preset": "no_such"}, 400, "M_BAD_JSON"),
        ({"invite": ["nobody"]}, 400, "M_INVALID_PARAM"),
        ({"room_alias_name": "a:b"}, 400, "M_INVALID_PARAM"),
        ({"initial_state": [{"content": {}}]}, 400, "M_BAD_JSON"),
        ({"initial_state": [{"type": "m.room.create", "content": {}}]}, 400, "M_INVALID_ROOM_STATE"),
        ({"power_level_content_override": {"users": {"@alice:example.org": 1}}}, 400, "M_INVALID_ROOM_STATE"),
        ({"name": {"x": 1.5}}, 400, "M_BAD_JSON"),
        ({"initial_state": [{"type": "x", "content": {"x": 1.5}}]}, 400, "M_BAD_JSON"),
    ],
)
async def test_what_cannot_be(server: Server, wanted: dict[str, Any], status: int, errcode: str) -> None:
    (alice,) = await server.users("alice")
    answer = await alice.ask("POST", "/createRoom", wanted)
    assert (answer.status, answer.json["errcode"]) == (status, errcode)
    assert (await alice.call("GET", "/joined_rooms"))["joined_rooms"] == []


async def test_an_alias_is_taken_once(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    room_id = await alice.create_room(room_alias_name="here", visibility="public", preset="public_chat")
    found = await bob.call("GET", path_of("directory", "room", f"#here:{SERVER}"))
    assert found == {"room_id": room_id, "servers": [SERVER]}
    again = await bob.ask("POST", "/createRoom", {"room_alias_name": "here"})
    assert (again.status, again.json["errcode"]) == (400, "M_ROOM_IN_USE")
    listed = await bob.call("GET", "/publicRooms")
    assert [room["room_id"] for room in listed["chunk"]] == [room_id]
    assert listed["chunk"][0]["canonical_alias"] == f"#here:{SERVER}"


async def test_an_upgrade_moves_the_room(server: Server) -> None:
    alice, bob = await server.users("alice", "bob")
    old = await alice.create_room(
        preset="public_chat", room_version="9", name="Old", room_alias_name="r", visibility="public"
    )
    await bob.join(old)
    refused = await bob.ask("POST", path_of("rooms", old, "upgrade"), {"new_version": "12"})
    assert (refused.status, refused.json["errcode"]) == (403, "M_FORBIDDEN")
    new = (await alice.call("POST", path_of("rooms", old, "upgrade"), {"new_version": "12"}))["replacement_room"]
    before, after = await _state(alice, old), await _state(alice, new)
    assert before["m.room.tombstone", ""]["content"]["replacement_room"] == new
    assert after["m.room.create", ""]["content"]["predecessor"]["room_id"] == old
    assert after["m.room.name", ""]["content"] == {"name": "Old"}
    assert (await bob.call("GET", path_of("directory", "room", f"#r:{SERVER}")))["room_id"] == new
    assert (await bob.ask("PUT", path_of("rooms", old, "send", "m.room.message", "1"), {"body": "x"})).status == 403
    await bob.join(new)
    assert [room["room_id"] for room in (await bob.call("GET", "/publicRooms"))["chunk"]] == [new]


async def test_rooms_that_are_alike_and_made_at_once_are_two(server: Server) -> None:
    (alice,) = await server.users("alice")
    made = await asyncio.gather(*(alice.create_room(room_version="12") for _ in range(10)))
    assert len(set(made)) == 10
