"""Unpadded Base64, standard and URL-safe, as Matrix writes binary values into JSON.
Decoding accepts what other implementations send: either alphabet, with or without padding.

Spec: appendices #unpadded-base64
"""

from __future__ import annotations

import binascii

_TO_STANDARD = str.maketrans("-_", "+/")
_TO_URL_SAFE = str.maketrans("+/", "-_")


def encode_base64(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).decode("ascii").rstrip("=")


def encode_base64_url(raw: bytes) -> str:
    return encode_base64(raw).translate(_TO_URL_SAFE)


def decode_base64(text: str) -> bytes:
    """The bytes behind padded or unpadded, standard or URL-safe Base64; ValueError for anything else."""
    digits = text.translate(_TO_STANDARD).rstrip("=")
    if not digits.isascii():
        raise ValueError("Base64 is ASCII")
    return binascii.a2b_base64(digits + "=" * (-len(digits) % 4), strict_mode=True)
