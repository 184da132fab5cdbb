from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from protocol.json_strategies import any_values, objects_with

from homeserver.protocol.base64 import decode_base64
from homeserver.protocol.signing import (
    SigningKey,
    key_ids_of_signatures,
    sign_json,
    verify_key_of,
    verify_signed_json,
)

SEED = decode_base64("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1")
KEY = SigningKey("1", SEED)
VECTORS: list[tuple[dict[str, Any], str]] = [
    ({}, "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"),
    (
        {"one": 1, "two": "Two"},
        "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw",
    ),
]


@pytest.mark.parametrize(("value", "signature"), VECTORS)
def test_vectors(value: dict[str, Any], signature: str) -> None:
    signed = sign_json(value, "domain", KEY)
    assert signed == {**value, "signatures": {"domain": {"ed25519:1": signature}}}
    assert verify_signed_json(signed, "domain", "ed25519:1", KEY.verify_key)


def test_signing_keeps_other_signatures_and_unsigned_and_its_argument() -> None:
    original = {
        "a": 1,
        "unsigned": {"age": 1},
        "signatures": {"other": {"ed25519:x": "y"}, "domain": {"ed25519:0": "z"}},
    }
    signed = sign_json(original, "domain", KEY)
    assert signed["unsigned"] == {"age": 1}
    assert signed["signatures"]["other"] == {"ed25519:x": "y"}
    assert set(signed["signatures"]["domain"]) == {"ed25519:0", "ed25519:1"}
    assert original["signatures"] == {"other": {"ed25519:x": "y"}, "domain": {"ed25519:0": "z"}}


def test_verification_fails_for_anything_altered() -> None:
    signed = sign_json({"a": 1}, "domain", KEY)
    assert verify_signed_json({**signed, "unsigned": {}}, "domain", "ed25519:1", KEY.verify_key)
    assert not verify_signed_json({**signed, "a": 2}, "domain", "ed25519:1", KEY.verify_key)
    assert not verify_signed_json(signed, "other", "ed25519:1", KEY.verify_key)
    assert not verify_signed_json(signed, "domain", "ed25519:2", KEY.verify_key)
    assert not verify_signed_json(signed, "domain", "ed25519:1", SigningKey("1", bytes(32)).verify_key)
    assert not verify_signed_json({**signed, "a": 1.5}, "domain", "ed25519:1", KEY.verify_key)


def test_key_forms() -> None:
    assert KEY.key_id == "ed25519:1"
    assert verify_key_of(KEY.verify_key_base64) == KEY.verify_key
    assert verify_key_of(KEY.verify_key_base64) is verify_key_of(KEY.verify_key_base64)
    assert "1" in repr(KEY)
    for text in ("", "abc", "é", KEY.verify_key_base64 + "AAAA"):
        with pytest.raises(ValueError):
            verify_key_of(text)


def test_key_ids_of_signatures() -> None:
    signed = {"signatures": {"domain": {"ed25519:1": "x", "rot13:1": "y", "ed25519:policy_server": "z"}}}
    assert key_ids_of_signatures(signed, "domain") == ["ed25519:1", "ed25519:policy_server"]
    assert key_ids_of_signatures(signed, "other") == []
    assert key_ids_of_signatures({"signatures": 5}, "domain") == []


@given(objects_with("signatures", "unsigned", "a", values=any_values | objects_with("domain")))
def test_verification_never_crashes(value: dict[str, Any]) -> None:
    assert not verify_signed_json(value, "domain", "ed25519:1", KEY.verify_key)
