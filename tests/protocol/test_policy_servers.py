from __future__ import annotations

from typing import Any

import pytest
from protocol.room_builder import ALICE, new_room

from homeserver.protocol.event_hashes import add_signature
from homeserver.protocol.events import Event
from homeserver.protocol.policy_servers import PolicyServer, find_policy_server, is_recommended
from homeserver.protocol.room_versions import ROOM_VERSIONS
from homeserver.protocol.signing import SigningKey

POLICY_KEY = SigningKey("policy_server", bytes([7] * 32))
CONTENT = {"via": "policy.one", "public_keys": {"ed25519": POLICY_KEY.verify_key_base64}}


@pytest.mark.parametrize("version", ROOM_VERSIONS)
def test_signed_events_are_recommended(version: str) -> None:
    room = new_room(version)
    policy = room.send("m.room.policy", ALICE, CONTENT, "")
    server = find_policy_server(room.state, {"one", "policy.one"})
    assert server == PolicyServer("policy.one", POLICY_KEY.verify_key_base64)
    event = room.make("m.room.message", ALICE, {"body": "x"})
    signed = Event(add_signature(event.pdu, room.version, "policy.one", POLICY_KEY), room.version)
    assert is_recommended(signed, server)
    assert not is_recommended(event, server)
    assert not is_recommended(Event({**signed.pdu, "depth": 99}, room.version), server)
    assert not is_recommended(signed, PolicyServer("policy.one", "no key"))
    assert is_recommended(event, None)
    assert is_recommended(policy, server)
    assert not is_recommended(room.make("m.room.policy", ALICE, CONTENT, "other"), server)


def test_policy_server_must_be_joined() -> None:
    room = new_room()
    assert find_policy_server(room.state, {"policy.one"}) is None
    room.send("m.room.policy", ALICE, CONTENT, "")
    assert find_policy_server(room.state, {"one"}) is None


@pytest.mark.parametrize(
    "content",
    [{}, {"via": 5}, {**CONTENT, "via": None}, {**CONTENT, "public_keys": []}, {**CONTENT, "public_keys": {}}],
)
def test_malformed_policies_count_as_none(content: dict[str, Any]) -> None:
    room = new_room()
    room.send("m.room.policy", ALICE, content, "")
    assert find_policy_server(room.state, {"policy.one"}) is None
