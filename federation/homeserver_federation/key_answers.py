"""Answers with server keys: checked, taken apart, and made.

Spec: server-server-api #retrieving-server-keys
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from homeserver.protocol.signing import ALGORITHM, SigningKey, VerifyKey, sign_json, verify_key_of, verify_signed_json
from homeserver.storage.server_keys import ServerKey

OWN_VALIDITY_MS = 86_400_000
LONGEST_VALIDITY_MS = 7 * 86_400_000
_MOST_KEYS = 200


class BadKeyAnswer(ValueError):
    """The object does not prove that the keys in it are the server's."""


@dataclass(frozen=True, slots=True)
class OldKey:
    """A key we signed with until `expired_ms`."""

    public_key: str
    expired_ms: int


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """Our signing key, and those we had before by key ID."""

    server_name: str
    current: SigningKey
    old: Mapping[str, OldKey] = field(default_factory=dict)

    def find(self, key_id: str) -> VerifyKey | None:
        """One of our public keys."""
        if key_id == self.current.key_id:
            return self.current.verify_key
        old = self.old.get(key_id)
        return None if old is None else verify_key_of(old.public_key)

    def answer(self, now_ms: int) -> dict[str, Any]:
        """What we publish, signed."""
        answer = {
            "server_name": self.server_name,
            "verify_keys": {self.current.key_id: {"key": self.current.verify_key_base64}},
            "old_verify_keys": {
                key_id: {"key": old.public_key, "expired_ts": old.expired_ms} for key_id, old in self.old.items()
            },
            "valid_until_ts": now_ms + OWN_VALIDITY_MS,
        }
        return sign_json(answer, self.server_name, self.current)


def parse_key_answer(answer: object, server_name: str, now_ms: int) -> list[ServerKey]:
    """The keys in a server's own, signed object. Raises BadKeyAnswer."""
    if not isinstance(answer, dict) or answer.get("server_name") != server_name:
        raise BadKeyAnswer("it is not about this server")
    valid_until_ms, verify_keys = answer.get("valid_until_ts"), answer.get("verify_keys")
    if type(valid_until_ms) is not int or not 0 <= valid_until_ms < 2**62 or not isinstance(verify_keys, dict):
        raise BadKeyAnswer("it lacks verify_keys or valid_until_ts")
    current = _keys_in(verify_keys)
    if not any(verify_signed_json(answer, server_name, key_id, verify_key_of(key)) for key_id, key in current.items()):
        raise BadKeyAnswer("none of its keys has signed it")
    raw = orjson.dumps(_signed_by_owner(answer, server_name))
    found = [ServerKey(server_name, key_id, key, valid_until_ms, None, now_ms, raw) for key_id, key in current.items()]
    old_keys = answer.get("old_verify_keys")
    if isinstance(old_keys, dict):
        for key_id, key in _keys_in(old_keys).items():
            expired_ms = old_keys[key_id].get("expired_ts")
            if type(expired_ms) is int and 0 <= expired_ms < 2**62 and key_id not in current:
                found.append(ServerKey(server_name, key_id, key, valid_until_ms, expired_ms, now_ms, raw))
    return found


def valid_until_ms(key: ServerKey) -> int:
    """Until when signatures of a key count, where room versions care: what it says, but no longer than a week."""
    if key.expired_ms is not None:
        return key.expired_ms
    return min(key.valid_until_ms, key.fetched_ms + LONGEST_VALIDITY_MS)


def _keys_in(objects: Mapping[str, Any]) -> dict[str, str]:
    """The well-formed Ed25519 keys of an object, by key ID."""
    found: dict[str, str] = {}
    for key_id, entry in objects.items():
        key = entry.get("key") if isinstance(entry, dict) else None
        if not key_id.startswith(f"{ALGORITHM}:") or not isinstance(key, str) or len(found) >= _MOST_KEYS:
            continue
        try:
            verify_key_of(key)
        except ValueError:
            continue
        found[key_id] = key
    return found


def _signed_by_owner(answer: Mapping[str, Any], server_name: str) -> dict[str, Any]:
    """The object without the signatures of notaries it came through."""
    signatures = answer.get("signatures")
    own = signatures.get(server_name) if isinstance(signatures, dict) else None
    return {**answer, "signatures": {server_name: own}}
