from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.protocol.base64 import decode_base64, encode_base64, encode_base64_url


@pytest.mark.parametrize(
    ("raw", "text"),
    [("", ""), ("f", "Zg"), ("fo", "Zm8"),
     ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("fooba", "Zm9vYmE"), ("foobar", "Zm9vYmFy")],
)  # fmt: skip
def test_vectors(raw: str, text: str) -> None:
    assert encode_base64(raw.encode()) == text
    assert decode_base64(text) == raw.encode()


@given(st.binary(max_size=70))
def test_both_alphabets_round_trip_padded_or_not(raw: bytes) -> None:
    for text in (encode_base64(raw), encode_base64_url(raw)):
        assert "=" not in text
        assert decode_base64(text) == raw
        assert decode_base64(text + "=" * (-len(text) % 4)) == raw
    assert not set(encode_base64_url(raw)) & set("+/")


@pytest.mark.parametrize("text", ["a", "a b", "é", "Zm9v!", "日本"])
def test_refuses(text: str) -> None:
    with pytest.raises(ValueError):
        decode_base64(text)


@given(st.text(max_size=20))
def test_never_crashes(text: str) -> None:
    try:
        decode_base64(text)
    except ValueError:
        return
