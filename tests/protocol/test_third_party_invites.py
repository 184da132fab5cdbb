from __future__ import annotations

from typing import Any

from hypothesis import given
from protocol.json_strategies import any_values, objects_with
from protocol.room_builder import KEY

from homeserver.protocol.signing import SigningKey, sign_json
from homeserver.protocol.third_party_invites import is_signed_for_invite, public_keys_of, signed_part_of

OTHER = SigningKey("9", bytes(32))
SIGNED = sign_json({"mxid": "@bob:one", "token": "t"}, "id.server", KEY)


def test_keys_single_and_several() -> None:
    content = {"public_key": "a", "public_keys": [{"public_key": "b"}, {"public_key": 5}, "c", {}]}
    assert list(public_keys_of(content)) == ["a", "b"]
    assert list(public_keys_of({"public_keys": {}})) == []


def test_any_signature_by_any_key() -> None:
    both = sign_json(SIGNED, "other.server", OTHER)
    for key in (KEY, OTHER):
        assert is_signed_for_invite(both, {"public_key": key.verify_key_base64})
    assert not is_signed_for_invite(SIGNED, {"public_key": OTHER.verify_key_base64})
    assert not is_signed_for_invite({**SIGNED, "mxid": "@eve:one"}, {"public_key": KEY.verify_key_base64})
    assert not is_signed_for_invite({**SIGNED, "x": 1.5}, {"public_key": KEY.verify_key_base64})


def test_signed_part() -> None:
    assert signed_part_of({"third_party_invite": {"signed": {"a": 1}}}) == {"a": 1}
    for content in ({}, {"third_party_invite": []}, {"third_party_invite": {"signed": 5}}):
        assert signed_part_of(content) is None


@given(
    objects_with("signatures", "mxid", values=any_values | objects_with("x", values=any_values)),
    objects_with("public_key", "public_keys"),
)
def test_never_crashes(signed: dict[str, Any], content: dict[str, Any]) -> None:
    assert not is_signed_for_invite(signed, content)
