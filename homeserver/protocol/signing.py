"""Ed25519 signing keys, and the signing and checking of JSON objects.
Objects are never changed in place: signing returns a new one.

Spec: appendices #signing-json
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeAlias

from nacl import bindings
from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey as _NaclVerifyKey

from homeserver.protocol.base64 import decode_base64, encode_base64
from homeserver.protocol.canonical_json import CanonicalJsonError, encode_canonical_json

VerifyKey: TypeAlias = _NaclVerifyKey
ALGORITHM = "ed25519"
_SIGNATURE_BYTES = 64


class SigningKey:
    """A server's Ed25519 key: `version` is the part of the key ID after `ed25519:`, `seed` its 32 secret bytes."""

    __slots__ = ("_secret", "key_id", "verify_key", "verify_key_base64", "version")

    def __init__(self, version: str, seed: bytes) -> None:
        public, self._secret = bindings.crypto_sign_seed_keypair(seed)
        self.version = version
        self.key_id = f"{ALGORITHM}:{version}"
        self.verify_key = VerifyKey(public)
        self.verify_key_base64 = encode_base64(public)

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of the detached signature."""
        return bindings.crypto_sign(message, self._secret)[:_SIGNATURE_BYTES]

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id!r})"


@lru_cache(maxsize=4096)
def verify_key_of(key_base64: str) -> VerifyKey:
    """The key behind its Base64 form; ValueError when it is none."""
    raw = decode_base64(key_base64)
    try:
        return VerifyKey(raw)
    except CryptoError as error:
        raise ValueError("An Ed25519 key has 32 bytes") from error


def is_valid_signature(message: bytes, signature_base64: object, verify_key: VerifyKey) -> bool:
    """Whether the Base64 signature over exactly these bytes was made with the key; anything malformed is invalid."""
    if not isinstance(signature_base64, str):
        return False
    try:
        verify_key.verify(message, decode_base64(signature_base64))
    except (CryptoError, ValueError):
        return False
    return True


def signable_bytes(json_object: Mapping[str, Any], *, strict: bool = True) -> bytes:
    """What a signature covers: the canonical JSON of the object without `signatures` and `unsigned`."""
    signed = {key: value for key, value in json_object.items() if key not in ("signatures", "unsigned")}
    return encode_canonical_json(signed, strict=strict)


def sign_json(json_object: Mapping[str, Any], server_name: str, key: SigningKey) -> dict[str, Any]:
    """A new object with our signature added; `unsigned` and the signatures of others stay.

    Raises CanonicalJsonError when the object has no canonical form.
    """
    signature = encode_base64(key.sign(signable_bytes(json_object)))
    return {**json_object, "signatures": with_signature(json_object.get("signatures"), server_name, key, signature)}


def with_signature(signatures: Any, server_name: str, key: SigningKey, signature_base64: str) -> dict[str, Any]:
    """A new `signatures` object: the given one (anything but an object counts as none) plus one signature."""
    merged: dict[str, Any] = dict(signatures) if isinstance(signatures, dict) else {}
    own = merged.get(server_name)
    merged[server_name] = {**(own if isinstance(own, dict) else {}), key.key_id: signature_base64}
    return merged


def find_signature(json_object: Mapping[str, Any], entity: str, key_id: str) -> str | None:
    """The Base64 signature of an entity (server name or user ID) by one of its keys."""
    signatures = json_object.get("signatures")
    of_entity = signatures.get(entity) if isinstance(signatures, dict) else None
    signature = of_entity.get(key_id) if isinstance(of_entity, dict) else None
    return signature if isinstance(signature, str) else None


def key_ids_of_signatures(json_object: Mapping[str, Any], entity: str) -> list[str]:
    """The IDs of the Ed25519 keys with which the entity claims to have signed the object."""
    signatures = json_object.get("signatures")
    of_entity = signatures.get(entity) if isinstance(signatures, dict) else None
    if not isinstance(of_entity, dict):
        return []
    return [key_id for key_id in of_entity if key_id.startswith(f"{ALGORITHM}:")]


def verify_signed_json(json_object: Mapping[str, Any], server_name: str, key_id: str, verify_key: VerifyKey) -> bool:
    """Whether the object carries a valid signature of that server (or user) by that key."""
    signature = find_signature(json_object, server_name, key_id)
    if signature is None:
        return False
    try:
        message = signable_bytes(json_object)
    except CanonicalJsonError:
        return False
    return is_valid_signature(message, signature, verify_key)
