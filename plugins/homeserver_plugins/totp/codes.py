"""The codes of authenticator apps. Pure.
Thirty seconds, six digits and SHA-1: what every app computes.

Spec: RFC 6238, RFC 4226 #section-5.3
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import quote, urlencode

STEP_MS = 30_000
DIGITS = 6
SECRET_BYTES = 20
WINDOW = 1  # steps before and after: clocks differ


def code_at(secret: bytes, step: int) -> str:
    """The code of one step of thirty seconds."""
    digest = hmac.new(secret, step.to_bytes(8, "big"), hashlib.sha1).digest()
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def find_step(secret: bytes, code: str, now_ms: int) -> int | None:
    """The step a code is of, near now; None if it is wrong. Takes as long whichever it is."""
    found = None
    now = now_ms // STEP_MS
    for step in range(max(now - WINDOW, 0), now + WINDOW + 1):
        if hmac.compare_digest(code_at(secret, step).encode(), code.encode("utf-8", "surrogatepass")):
            found = step
    return found


def as_text(secret: bytes) -> str:
    """The secret as people type it into an app."""
    return base64.b32encode(secret).decode("ascii")


def as_uri(secret: bytes, user_id: str, issuer: str) -> str:
    """The secret as apps scan it."""
    label = quote(f"{issuer}:{user_id}", safe="@")
    return f"otpauth://totp/{label}?" + urlencode({"secret": as_text(secret), "issuer": issuer})
