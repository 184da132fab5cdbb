from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from protocol.json_strategies import any_values, canonical_values

from homeserver.protocol.canonical_json import CanonicalJsonError, decode_json, encode_canonical_json


def oracle(value: Any) -> bytes:
    """The encoder that the specification gives as an example."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode("UTF-8")


@pytest.mark.parametrize(
    ("source", "canonical"),
    [
        ("{}", "{}"),
        ('{"one": 1, "two": "Two"}', '{"one":1,"two":"Two"}'),
        ('{"b": "2", "a": "1"}', '{"a":"1","b":"2"}'),
        (
            (
                '{"auth": {"success": true, "mxid": "@john.doe:example.com", "profile": {"display_name": "John Doe",'
                ' "three_pids": [{"medium": "email", "address": "john.doe@example.org"},'
                ' {"medium": "msisdn", "address": "123456789"}]}}}'
            ),
            (
                '{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":'
                '[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},'
                '"success":true}}'
            ),
        ),
        ('{"a": "日本語"}', '{"a":"日本語"}'),
        ('{"本": 2, "日": 1}', '{"日":1,"本":2}'),
        ('{"a": "\\u65E5"}', '{"a":"日"}'),
        ('{"a": null}', '{"a":null}'),
        ('{"a": -0}', '{"a":0}'),
        ('{"\\ud83d\\ude00": 1, "\\uffff": 2}', '{"\uffff":2,"😀":1}'),
    ],
)
def test_vectors(source: str, canonical: str) -> None:
    assert encode_canonical_json(decode_json(source)) == canonical.encode()


@given(canonical_values)
def test_agrees_with_the_oracle_and_round_trips(value: Any) -> None:
    encoded = encode_canonical_json(value)
    assert encoded == oracle(value)
    assert encode_canonical_json(value, strict=False) == encoded
    assert decode_json(encoded) == value
    assert encode_canonical_json(decode_json(encoded)) == encoded


@pytest.mark.parametrize(
    "value", [1.0, {"a": [1, {"b": 0.5}]}, math.nan, 2**53, -(2**53), 2**70, "\ud800", {"\udfff": 1}, {1: 2}, object()]
)
def test_strict_refuses(value: Any) -> None:
    with pytest.raises(CanonicalJsonError):
        encode_canonical_json(value)


def test_strict_accepts_the_limits() -> None:
    assert encode_canonical_json([2**53 - 1, -(2**53) + 1]) == b"[9007199254740991,-9007199254740991]"


def test_depth_is_bounded() -> None:
    value: list[Any] = []
    for _ in range(5000):
        value = [value]
    for strict in (True, False):
        with pytest.raises(CanonicalJsonError):
            encode_canonical_json(value, strict=strict)


@pytest.mark.parametrize(
    "source", ['{"a":1.5}', '{"a":1e+16}', '{"a":123456789012345678901234567890}', '{"a":-9007199254740993}']
)
def test_tolerant_round_trips_numbers(source: str) -> None:
    value = decode_json(source, exact_numbers=True)
    assert encode_canonical_json(value, strict=False) == source.encode()


def test_tolerant_still_refuses_what_is_no_json() -> None:
    for value in (math.inf, [math.nan], "\ud800", object()):
        with pytest.raises(CanonicalJsonError):
            encode_canonical_json(value, strict=False)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("raw", [b"", b"{", b"NaN", b'{"a":Infinity}', b'"\xff"', b'"\\ud800"', b"[" * 100_000])
def test_decode_refuses_with_value_error(raw: bytes, exact: bool) -> None:
    with pytest.raises(ValueError):
        decode_json(raw, exact_numbers=exact)


@given(any_values)
def test_never_crashes(value: Any) -> None:
    for strict in (True, False):
        try:
            encoded = encode_canonical_json(value, strict=strict)
        except CanonicalJsonError:
            continue
        assert json.loads(encoded) == value
