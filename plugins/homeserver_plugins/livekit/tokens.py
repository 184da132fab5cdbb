"""What LiveKit reads: signed tokens, and the names of rooms and participants, which tell outsiders nothing.

Spec: MSC4195, LiveKit's access tokens
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from joserfc import jwt
from joserfc.jwk import OctKey

from homeserver.protocol.canonical_json import encode_canonical_json

_CLOCK_SKEW_S = 10


def room_alias(room_id: str, slot_id: str) -> str:
    """The name of the LiveKit room for one slot of a Matrix room."""
    return _digest([room_id, slot_id])


def pseudonym(user_id: str, device_id: str, member_id: str) -> str:
    """The name of a participant; only who knows the membership can tell who it is."""
    return _digest([user_id, device_id, member_id])


class LiveKitKey:
    """An API key of a LiveKit server and its secret."""

    def __init__(self, name: str, secret: str) -> None:
        self._name = name
        self._key = OctKey.import_key(secret.encode())

    def join_token(self, identity: str, room: str, now_ms: int, lifetime_ms: int) -> str:
        """Lets a participant into one room that exists, to speak and listen."""
        grants = {
            "room": room,
            "roomJoin": True,
            "roomCreate": False,
            "canPublish": True,
            "canSubscribe": True,
            "canPublishData": True,
        }
        return self._sign({"sub": identity, "video": grants}, now_ms, lifetime_ms)

    def create_token(self, room: str, now_ms: int, lifetime_ms: int) -> str:
        """Lets this server make one room."""
        return self._sign({"video": {"room": room, "roomCreate": True}}, now_ms, lifetime_ms)

    def _sign(self, claims: dict[str, Any], now_ms: int, lifetime_ms: int) -> str:
        now_s = now_ms // 1000
        dated = {
            "iss": self._name,
            "nbf": now_s - _CLOCK_SKEW_S,
            "iat": now_s,
            "exp": now_s + lifetime_ms // 1000,
            **claims,
        }
        return jwt.encode({"typ": "JWT", "alg": "HS256"}, dated, self._key, algorithms=["HS256"])


def _digest(parts: list[str]) -> str:
    return base64.b64encode(hashlib.sha256(encode_canonical_json(parts)).digest()).rstrip(b"=").decode("ascii")
