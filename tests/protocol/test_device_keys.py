from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from protocol.json_strategies import any_values, objects_with

from homeserver.protocol.device_keys import (
    check_cross_signing_key,
    check_cross_signing_signature,
    check_device_keys,
    check_one_time_keys,
    merge_signatures,
    same_key_object,
    verify_key_signature,
)
from homeserver.protocol.errors import MatrixError
from homeserver.protocol.signing import SigningKey, sign_json

USER, DEVICE = "@alice:one", "DEVICE"
MASTER = SigningKey("unused", bytes(32))
MASTER = SigningKey(MASTER.verify_key_base64, bytes(32))
SELF = SigningKey("unused", bytes([1] * 32)).verify_key_base64
DEVICE_KEYS = {
    "user_id": USER, "device_id": DEVICE, "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
    "keys": {"curve25519:DEVICE": "abc", "ed25519:DEVICE": "def"}, "signatures": {USER: {"ed25519:DEVICE": "sig"}},
}  # fmt: skip


def error_of(action: Callable[[], object]) -> str:
    with pytest.raises(MatrixError) as caught:
        action()
    assert caught.value.status == 400
    return caught.value.errcode


def cross_signing_key(usage: str, public_key: str) -> dict[str, Any]:
    return {"user_id": USER, "usage": [usage], "keys": {f"ed25519:{public_key}": public_key}}


def test_device_keys() -> None:
    check_device_keys(USER, DEVICE, DEVICE_KEYS)
    for field in DEVICE_KEYS:
        without = {key: value for key, value in DEVICE_KEYS.items() if key != field}
        assert error_of(lambda keys=without: check_device_keys(USER, DEVICE, keys)) == "M_MISSING_PARAM"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user_id", "@bob:one"), ("device_id", "OTHER"), ("algorithms", "x"), ("algorithms", [5]), ("keys", []),
        ("keys", {"ed25519:OTHER": "x"}), ("keys", {"ed25519": "x"}), ("keys", {":DEVICE": "x"}),
        ("keys", {"ed25519:DEVICE": 5}), ("signatures", 5), ("signatures", {USER: "x"}),
        ("signatures", {USER: {"x": 5}}),
    ],
)  # fmt: skip
def test_malformed_device_keys(field: str, value: Any) -> None:
    assert error_of(lambda: check_device_keys(USER, DEVICE, {**DEVICE_KEYS, field: value})) == "M_INVALID_PARAM"


def test_one_time_keys() -> None:
    check_one_time_keys({})
    check_one_time_keys({
        "curve25519:AAA": "key",
        "signed_curve25519:BBB": {"key": "key", "signatures": {USER: {"ed25519:DEVICE": "sig"}}, "fallback": True},
    })  # fmt: skip
    for keys in ([], {"curve25519": "x"}, {"x:": "y"}, {":x": "y"}, {"a:b": 5}, {"a:b": {}}, {"a:b": {"key": 5}},
                 {"a:b": {"key": "x", "signatures": 5}}):  # fmt: skip
        assert error_of(lambda k=keys: check_one_time_keys(k)) == "M_INVALID_PARAM"


def test_cross_signing_keys() -> None:
    for usage in ("master", "self_signing", "user_signing"):
        assert check_cross_signing_key(USER, usage, cross_signing_key(usage, SELF)) == SELF


@pytest.mark.parametrize(
    "changes",
    [
        {"user_id": "@bob:one"}, {"usage": ["master"]}, {"usage": "self_signing"}, {"keys": {}}, {"keys": []},
        {"keys": {f"ed25519:{SELF}": SELF, "ed25519:x": "x"}}, {"keys": {f"curve25519:{SELF}": SELF}},
        {"keys": {"ed25519:other": SELF}}, {"keys": {"ed25519:short": "short"}}, {"keys": {"ed25519:5": 5}},
        {"signatures": []},
    ],
)  # fmt: skip
def test_malformed_cross_signing_keys(changes: dict[str, Any]) -> None:
    key = {**cross_signing_key("self_signing", SELF), **changes}
    assert error_of(lambda: check_cross_signing_key(USER, "self_signing", key)) == "M_INVALID_PARAM"
    assert error_of(lambda: check_cross_signing_key(USER, "self_signing", 5)) == "M_INVALID_PARAM"


def test_signature_of_the_master_key() -> None:
    signed = sign_json(cross_signing_key("self_signing", SELF), USER, MASTER)
    master = MASTER.verify_key_base64
    check_cross_signing_signature(signed, USER, master)
    for unsigned in ({**signed, "usage": ["x"]}, {**signed, "signatures": {}}):
        assert error_of(lambda key=unsigned: check_cross_signing_signature(key, USER, master)) == "M_INVALID_SIGNATURE"
    assert error_of(lambda: check_cross_signing_signature(signed, "@bob:one", master)) == "M_INVALID_SIGNATURE"
    assert error_of(lambda: check_cross_signing_signature(signed, USER, SELF)) == "M_INVALID_SIGNATURE"
    assert verify_key_signature(signed, USER, MASTER.key_id, master)
    assert not verify_key_signature(signed, USER, MASTER.key_id, "no key")


def test_merging_signatures() -> None:
    stored = {"a": 1, "signatures": {USER: {"k1": "s1"}}}
    uploaded = {"a": 1, "signatures": {USER: {"k2": "s2"}, "@bob:one": {"k3": "s3"}}}
    merged = merge_signatures(stored, uploaded)
    assert merged == {"a": 1, "signatures": {USER: {"k1": "s1", "k2": "s2"}, "@bob:one": {"k3": "s3"}}}
    assert stored == {"a": 1, "signatures": {USER: {"k1": "s1"}}}
    assert same_key_object(stored, {**uploaded, "unsigned": {}})
    assert not same_key_object(stored, {**uploaded, "a": 2})


@given(objects_with(*DEVICE_KEYS, "usage"), any_values)
def test_only_documented_errors(keys: dict[str, Any], value: Any) -> None:
    for check in (
        lambda: check_device_keys(USER, DEVICE, {**DEVICE_KEYS, **keys}),
        lambda: check_one_time_keys({"a:b": value}),
        lambda: check_one_time_keys(value),
        lambda: check_cross_signing_key(USER, "master", {**cross_signing_key("master", SELF), **keys}),
    ):
        try:
            check()
        except MatrixError:
            continue
