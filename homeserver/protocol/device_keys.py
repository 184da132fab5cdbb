"""End-to-end encryption keys as clients upload them: their shapes, and the signatures between them.
The server checks shapes and its own obligations; trusting keys is for clients.

Spec: client-server-api #end-to-end-encryption
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from homeserver.protocol.base64 import decode_base64
from homeserver.protocol.errors import MatrixError, invalid_param, missing_param
from homeserver.protocol.signing import ALGORITHM, verify_key_of, verify_signed_json

CROSS_SIGNING_USAGES: Final = ("master", "self_signing", "user_signing")
_KEY_BYTES: Final = 32


def check_device_keys(user_id: str, device_id: str, keys: object) -> None:
    """Raises unless `keys` are identity keys of that device: M_MISSING_PARAM or M_INVALID_PARAM."""
    if not isinstance(keys, dict):
        raise invalid_param("The device keys are not an object.")
    for field in ("user_id", "device_id", "algorithms", "keys", "signatures"):
        if field not in keys:
            raise missing_param(f"The device keys have no {field}.")
    if keys["user_id"] != user_id:
        raise invalid_param("The device keys are those of another user.")
    if keys["device_id"] != device_id:
        raise invalid_param("The device keys are those of another device.")
    algorithms = keys["algorithms"]
    if not isinstance(algorithms, list) or not all(isinstance(algorithm, str) for algorithm in algorithms):
        raise invalid_param("The algorithms of the device are not a list of strings.")
    if not isinstance(keys["keys"], dict):
        raise invalid_param("The keys of the device are not an object.")
    for key_id, key in keys["keys"].items():
        algorithm, _, owner = key_id.partition(":")
        if not algorithm or owner != device_id:
            raise invalid_param(f"The key {key_id!r} is not named after an algorithm and the device.")
        if not isinstance(key, str):
            raise invalid_param(f"The key {key_id!r} is not a string.")
    _check_signatures_shape(keys["signatures"])


def check_one_time_keys(keys: object) -> None:
    """Raises M_INVALID_PARAM unless these are one-time keys, or fallback keys: both have the same shape."""
    if not isinstance(keys, dict):
        raise invalid_param("The keys are not an object.")
    for key_id, key in keys.items():
        algorithm, _, name = key_id.partition(":")
        if not algorithm or not name:
            raise invalid_param(f"The key {key_id!r} is not named after an algorithm and an ID.")
        if isinstance(key, str):
            continue
        if not isinstance(key, dict) or not isinstance(key.get("key"), str):
            raise invalid_param(f"The key {key_id!r} is neither a string nor an object with a key.")
        if "signatures" in key:
            _check_signatures_shape(key["signatures"])


def check_cross_signing_key(user_id: str, usage: str, key: object) -> str:
    """The Base64 public key of a cross-signing key of that user and usage; raises M_INVALID_PARAM for anything else."""
    if not isinstance(key, dict):
        raise invalid_param(f"The {usage} key is not an object.")
    if key.get("user_id") != user_id:
        raise invalid_param(f"The {usage} key is that of another user.")
    usages = key.get("usage")
    if not isinstance(usages, list) or usage not in usages:
        raise invalid_param(f"The {usage} key is not meant to be used as one.")
    keys = key.get("keys")
    if not isinstance(keys, dict) or len(keys) != 1:
        raise invalid_param(f"The {usage} key has not exactly one public key.")
    [(key_id, public_key)] = keys.items()
    algorithm, _, name = key_id.partition(":")
    if algorithm != ALGORITHM or not isinstance(public_key, str) or name != public_key:
        raise invalid_param(f"The {usage} key is not an Ed25519 key named after itself.")
    if not _is_key(public_key):
        raise invalid_param(f"The {usage} key is not a key in Base64.")
    if "signatures" in key:
        _check_signatures_shape(key["signatures"])
    return public_key


def check_cross_signing_signature(key: Mapping[str, Any], user_id: str, master_key: str) -> None:
    """Raises M_INVALID_SIGNATURE unless the user's master key (Base64) has signed this other cross-signing key."""
    if not verify_key_signature(key, user_id, f"{ALGORITHM}:{master_key}", master_key):
        raise MatrixError("M_INVALID_SIGNATURE", "The key is not validly signed by the user's master key.", 400)


def verify_key_signature(signed: Mapping[str, Any], user_id: str, key_id: str, public_key: str) -> bool:
    """Whether the object carries a valid signature of that user by that key (public half in Base64)."""
    try:
        verify_key = verify_key_of(public_key)
    except ValueError:
        return False
    return verify_signed_json(signed, user_id, key_id, verify_key)


def merge_signatures(stored: Mapping[str, Any], uploaded: Mapping[str, Any]) -> dict[str, Any]:
    """The stored key object with the signatures of the uploaded one added."""
    merged: dict[str, dict[str, str]] = {}
    for source in (stored, uploaded):
        for signer, signatures in source.get("signatures", {}).items():
            merged.setdefault(signer, {}).update(signatures)
    return {**stored, "signatures": merged}


def same_key_object(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two key objects differ in nothing but signatures and unsigned data."""
    ignored = ("signatures", "unsigned")
    return {key: value for key, value in first.items() if key not in ignored} == {
        key: value for key, value in second.items() if key not in ignored
    }


def _check_signatures_shape(signatures: object) -> None:
    is_shaped = isinstance(signatures, dict) and all(
        isinstance(by_key, dict) and all(isinstance(signature, str) for signature in by_key.values())
        for by_key in signatures.values()
    )
    if not is_shaped:
        raise invalid_param("The signatures are not strings by key and by user.")


def _is_key(text: str) -> bool:
    try:
        return len(decode_base64(text)) == _KEY_BYTES
    except ValueError:
        return False
