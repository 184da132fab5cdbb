"""Content hashes, reference hashes, and the identifiers and signatures that rest on them.
One canonical encoding of the redacted event serves both the signature and the reference hash.

Spec: server-server-api #signing-events
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from homeserver.protocol.base64 import decode_base64, encode_base64, encode_base64_url
from homeserver.protocol.canonical_json import (
    CanonicalJsonError,
    encode_canonical_json,
    encode_part_of_canonical_json,
)
from homeserver.protocol.redaction import redact
from homeserver.protocol.room_versions import EventIdFormat, RoomVersion
from homeserver.protocol.signing import SigningKey, VerifyKey, find_signature, is_valid_signature, with_signature

_NOT_IN_CONTENT_HASH = frozenset({"unsigned", "signatures", "hashes"})


def content_hash(pdu: Mapping[str, Any], *, strict: bool = True) -> bytes:
    """SHA-256 of the complete event, 32 bytes. Raises CanonicalJsonError."""
    hashed = {key: value for key, value in pdu.items() if key not in _NOT_IN_CONTENT_HASH}
    return sha256(encode_canonical_json(hashed, strict=strict)).digest()


def has_valid_content_hash(pdu: Mapping[str, Any]) -> bool:
    """Whether `hashes.sha256` fits the content; if not, only the redacted copy of the event may be used."""
    hashes = pdu.get("hashes")
    claimed = hashes.get("sha256") if isinstance(hashes, dict) else None
    if not isinstance(claimed, str):
        return False
    try:
        return decode_base64(claimed) == content_hash(pdu, strict=False)
    except ValueError:
        return False


def event_signing_bytes(pdu: Mapping[str, Any], room_version: RoomVersion) -> bytes:
    """What servers sign, and what the reference hash covers: the redacted event without `signatures`, `unsigned`."""
    redacted = redact(pdu, room_version)
    redacted.pop("signatures", None)
    return encode_canonical_json(redacted, strict=room_version.event_format.strict_canonical_json)


def reference_hash(pdu: Mapping[str, Any], room_version: RoomVersion) -> bytes:
    """SHA-256 of the event's essential fields, 32 bytes. Raises CanonicalJsonError."""
    return sha256(event_signing_bytes(pdu, room_version)).digest()


def reference_hash_base64(pdu: Mapping[str, Any], room_version: RoomVersion) -> str:
    """The form in which events of room versions 1 and 2 refer to each other."""
    return encode_base64(reference_hash(pdu, room_version))


def event_id_of(pdu: Mapping[str, Any], room_version: RoomVersion) -> str:
    """The event's ID: its `event_id` in room versions 1 and 2, its reference hash later. Raises CanonicalJsonError."""
    if room_version.event_format.event_id is EventIdFormat.SERVER_MADE:
        event_id: str = pdu["event_id"]
        return event_id
    return _event_id_of_hash(reference_hash(pdu, room_version), room_version)


def room_id_of_create(pdu: Mapping[str, Any], room_version: RoomVersion) -> str:
    """The ID of the room that this `m.room.create` event founds."""
    if room_version.event_format.room_id_is_create_hash:
        return room_id_of_create_event_id(event_id_of(pdu, room_version))
    room_id: str = pdu["room_id"]
    return room_id


def room_id_of_create_event_id(event_id: str) -> str:
    """The room ID of a room whose ID is the hash of its create event."""
    return "!" + event_id[1:]


def create_event_id_of_room_id(room_id: str) -> str:
    """The reverse of `room_id_of_create_event_id`."""
    return "$" + room_id[1:]


def hash_and_sign(
    pdu: Mapping[str, Any], room_version: RoomVersion, server_name: str, key: SigningKey
) -> tuple[dict[str, Any], str]:
    """The PDU with its content hash and our signature, and its event ID. Raises CanonicalJsonError."""
    strict = room_version.event_format.strict_canonical_json
    hashed: dict[str, Any] = {
        **pdu,
        "hashes": {"sha256": encode_base64(content_hash(pdu, strict=strict))},
    }
    signing_bytes = _signing_bytes_of_hashed(hashed, room_version)
    signature = encode_base64(key.sign(signing_bytes))
    hashed["signatures"] = with_signature(pdu.get("signatures"), server_name, key, signature)
    if room_version.event_format.event_id is EventIdFormat.SERVER_MADE:
        return hashed, pdu.get("event_id", "")
    return hashed, _event_id_of_hash(sha256(signing_bytes).digest(), room_version)


def add_hash_and_signature(
    pdu: Mapping[str, Any], room_version: RoomVersion, server_name: str, key: SigningKey
) -> dict[str, Any]:
    """A new PDU with `hashes` and our signature. Raises CanonicalJsonError."""
    return hash_and_sign(pdu, room_version, server_name, key)[0]


def add_signature(
    pdu: Mapping[str, Any], room_version: RoomVersion, server_name: str, key: SigningKey
) -> dict[str, Any]:
    """A new PDU that we have signed too: an invite for one of our users, a restricted join we vouch for."""
    signature = encode_base64(key.sign(event_signing_bytes(pdu, room_version)))
    return {**pdu, "signatures": with_signature(pdu.get("signatures"), server_name, key, signature)}


def verify_event_signature(
    pdu: Mapping[str, Any], room_version: RoomVersion, server_name: str, key_id: str, verify_key: VerifyKey
) -> bool:
    """Whether the event carries a valid signature of that server by that key."""
    signature = find_signature(pdu, server_name, key_id)
    if signature is None:
        return False
    try:
        return is_valid_signature(event_signing_bytes(pdu, room_version), signature, verify_key)
    except CanonicalJsonError:
        return False


def _signing_bytes_of_hashed(hashed: Mapping[str, Any], room_version: RoomVersion) -> bytes:
    redacted = redact(hashed, room_version)
    redacted.pop("signatures", None)
    if room_version.event_format.strict_canonical_json:
        return encode_part_of_canonical_json(redacted)
    return encode_canonical_json(redacted, strict=False)


def _event_id_of_hash(digest: bytes, room_version: RoomVersion) -> str:
    if room_version.event_format.event_id is EventIdFormat.HASH:
        return "$" + encode_base64(digest)
    return "$" + encode_base64_url(digest)
