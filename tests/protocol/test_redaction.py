"""What survives a redaction, by version: the table of the specification."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol.json_strategies import any_values, objects_with

from homeserver.protocol.redaction import may_be_redacted_by, redact
from homeserver.protocol.room_versions import ROOM_VERSIONS, get_room_version

ALWAYS = {
    "event_id", "type", "room_id", "sender", "state_key", "content", "hashes", "signatures", "depth", "prev_events",
    "auth_events", "origin_server_ts",
}  # fmt: skip
UNTIL_V10 = {"prev_state", "origin", "membership"}
EVERY_KEY = {
    "membership", "join_authorised_via_users_server", "third_party_invite", "creator", "room_version", "join_rule",
    "allow", "ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default", "invite",
    "notifications", "aliases", "history_visibility", "redacts", "body",
}  # fmt: skip
POWER = {"ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default"}


def surviving(version: str, event_type: str) -> set[str]:
    content: dict[str, Any] = dict.fromkeys(EVERY_KEY, "x")
    redacted = redact({"type": event_type, "content": content}, get_room_version(version))
    return set(redacted["content"])


@pytest.mark.parametrize("version", ROOM_VERSIONS)
def test_top_level(version: str) -> None:
    keys = ALWAYS | UNTIL_V10 | {"unsigned", "age_ts", "redacts", "anything"}
    redacted = redact({key: {} for key in keys}, get_room_version(version))
    assert set(redacted) == (ALWAYS if version in {"11", "12"} else ALWAYS | UNTIL_V10)


@pytest.mark.parametrize("version", ROOM_VERSIONS)
def test_content(version: str) -> None:
    number = int(version)
    member = {"membership"} | ({"join_authorised_via_users_server"} if number >= 9 else set())
    assert surviving(version, "m.room.member") == member
    assert surviving(version, "m.room.create") == (EVERY_KEY if number >= 11 else {"creator"})
    assert surviving(version, "m.room.join_rules") == {"join_rule"} | ({"allow"} if number >= 8 else set())
    assert surviving(version, "m.room.power_levels") == POWER | ({"invite"} if number >= 11 else set())
    assert surviving(version, "m.room.aliases") == ({"aliases"} if number <= 5 else set())
    assert surviving(version, "m.room.history_visibility") == {"history_visibility"}
    assert surviving(version, "m.room.redaction") == ({"redacts"} if number >= 11 else set())
    assert surviving(version, "m.room.message") == set()


def test_third_party_invite_keeps_only_signed() -> None:
    invite = {"display_name": "Bob", "signed": {"mxid": "@bob:b"}}
    pdu = {"type": "m.room.member", "content": {"membership": "invite", "third_party_invite": invite}}
    redacted = redact(pdu, get_room_version("11"))
    assert redacted["content"] == {"membership": "invite", "third_party_invite": {"signed": {"mxid": "@bob:b"}}}
    assert redact(pdu, get_room_version("10"))["content"] == {"membership": "invite"}


def test_argument_is_left_alone() -> None:
    pdu = {"type": "m.room.message", "content": {"body": "x"}, "unsigned": {}}
    redact(pdu, get_room_version("12"))
    assert pdu == {"type": "m.room.message", "content": {"body": "x"}, "unsigned": {}}


@given(st.sampled_from(sorted(ROOM_VERSIONS)), objects_with("type", "content", "sender", "state_key"))
def test_idempotent_and_never_crashes(version: str, pdu: dict[str, Any]) -> None:
    room_version = get_room_version(version)
    once = redact(pdu, room_version)
    assert redact(once, room_version) == once


@given(any_values)
def test_any_content(content: Any) -> None:
    for version in ROOM_VERSIONS.values():
        assert isinstance(redact({"type": "m.room.member", "content": content}, version)["content"], dict)


def test_who_may_redact() -> None:
    assert may_be_redacted_by("@a:one", "@b:two", 50, 50)
    assert not may_be_redacted_by("@a:one", "@b:two", 49, 50)
    assert may_be_redacted_by("@a:one", "@b:one", 0, 50)
