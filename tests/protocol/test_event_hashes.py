from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from protocol.room_builder import ALICE, BOB, KEY, new_room
from protocol.test_signing import KEY as VECTOR_KEY

from homeserver.protocol.base64 import encode_base64
from homeserver.protocol.event_hashes import (
    add_hash_and_signature,
    add_signature,
    event_id_of,
    has_valid_content_hash,
    reference_hash_base64,
    room_id_of_create,
    verify_event_signature,
)
from homeserver.protocol.room_versions import ROOM_VERSIONS, V1, get_room_version

MINIMAL = {
    "room_id": "!x:domain", "sender": "@a:domain", "origin": "domain", "origin_server_ts": 1000000, "signatures": {},
    "hashes": {}, "type": "X", "content": {}, "prev_events": [], "auth_events": [], "depth": 3,
    "unsigned": {"age_ts": 1000000},
}  # fmt: skip
WITH_CONTENT = {
    "content": {"body": "Here is the message content"}, "event_id": "$0:domain", "origin": "domain",
    "origin_server_ts": 1000000, "type": "m.room.message", "room_id": "!r:domain", "sender": "@u:domain",
    "signatures": {}, "unsigned": {"age_ts": 1000000},
}  # fmt: skip


@pytest.mark.parametrize(
    ("event", "sha256", "signature"),
    [
        (
            MINIMAL,
            "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos",
            "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg",
        ),
        (
            WITH_CONTENT,
            "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g",
            "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA",
        ),
    ],
)
def test_vectors_of_the_specification(event: dict[str, Any], sha256: str, signature: str) -> None:
    signed = add_hash_and_signature(event, V1, "domain", VECTOR_KEY)
    assert signed == {**event, "hashes": {"sha256": sha256}, "signatures": {"domain": {"ed25519:1": signature}}}
    assert has_valid_content_hash(signed)
    assert verify_event_signature(signed, V1, "domain", "ed25519:1", VECTOR_KEY.verify_key)


@pytest.mark.parametrize("version", ROOM_VERSIONS)
def test_event_ids_by_hand(version: str) -> None:
    room = new_room(version)
    pdu = room.send("m.room.message", ALICE, {"body": "hello"}).pdu
    essential = {key: value for key, value in pdu.items() if key not in {"signatures", "unsigned"}} | {"content": {}}
    digest = hashlib.sha256(json.dumps(essential, separators=(",", ":"), sort_keys=True).encode()).digest()
    expected = {
        "1": pdu.get("event_id"), "2": pdu.get("event_id"), "3": "$" + encode_base64(digest),
    }.get(version, "$" + encode_base64(digest).replace("+", "-").replace("/", "_"))  # fmt: skip
    assert event_id_of(pdu, room.version) == expected
    assert reference_hash_base64(pdu, room.version) == encode_base64(digest)


@pytest.mark.parametrize("version", ROOM_VERSIONS)
def test_signature_covers_the_redacted_event(version: str) -> None:
    room = new_room(version)
    event = room.send("m.room.message", ALICE, {"body": "hello"})
    changed = {**event.pdu, "content": {"body": "changed"}, "unsigned": {"age": 5}}
    assert verify_event_signature(changed, room.version, "one", "ed25519:1", KEY.verify_key)
    assert event_id_of(changed, room.version) == event.event_id
    assert not has_valid_content_hash(changed)
    assert has_valid_content_hash({**event.pdu, "unsigned": {"age": 5}})
    assert not verify_event_signature({**event.pdu, "depth": 99}, room.version, "one", "ed25519:1", KEY.verify_key)


def test_room_id_of_create() -> None:
    for version in ROOM_VERSIONS:
        room = new_room(version)
        assert room.create is not None
        assert room_id_of_create(room.create.pdu, room.version) == room.room_id
        if version == "12":
            assert room.room_id == "!" + room.create.event_id[1:]
            assert "room_id" not in room.create.pdu
            assert room_id_of_create(room.create.pdu, room.version) == room.create.room_id


def test_added_signature_leaves_the_id() -> None:
    room = new_room("12")
    event = room.make("m.room.member", BOB, {"membership": "join"}, BOB)
    signed = add_signature(event.pdu, room.version, "two", KEY)
    assert set(signed["signatures"]) == {"one", "two"}
    assert event_id_of(signed, room.version) == event.event_id
    assert verify_event_signature(signed, room.version, "two", KEY.key_id, KEY.verify_key)


@pytest.mark.parametrize("hashes", [None, {}, {"sha256": 5}, {"sha256": "é"}, {"sha256": "AAAA"}, []])
def test_malformed_hashes_are_invalid(hashes: object) -> None:
    assert not has_valid_content_hash({"type": "x", "content": {}, "hashes": hashes})


def test_floats_are_hashed_in_old_rooms() -> None:
    event = {**MINIMAL, "content": {"n": 1.5}, "event_id": "$a:b"}
    assert has_valid_content_hash(add_hash_and_signature(event, get_room_version("5"), "domain", KEY))
    with pytest.raises(ValueError, match="Floats"):
        add_hash_and_signature(event, get_room_version("6"), "domain", KEY)
