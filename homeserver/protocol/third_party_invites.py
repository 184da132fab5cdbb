"""Invites to an e-mail address or a phone number: the proof that a Matrix ID is bound to the invited address.

Spec: server-server-api #third-party-invites
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from homeserver.protocol.canonical_json import CanonicalJsonError
from homeserver.protocol.signing import ALGORITHM, is_valid_signature, signable_bytes, verify_key_of


def signed_part_of(content: Mapping[str, Any]) -> dict[str, Any] | None:
    """`third_party_invite.signed` of a member event's content, when it is an object."""
    invite = content.get("third_party_invite")
    signed = invite.get("signed") if isinstance(invite, dict) else None
    return signed if isinstance(signed, dict) else None


def public_keys_of(invite_content: Mapping[str, Any]) -> Iterator[str]:
    """The Base64 keys an m.room.third_party_invite event trusts: `public_key`, then those of `public_keys`."""
    single = invite_content.get("public_key")
    if isinstance(single, str):
        yield single
    several = invite_content.get("public_keys")
    for entry in several if isinstance(several, list) else []:
        key = entry.get("public_key") if isinstance(entry, dict) else None
        if isinstance(key, str):
            yield key


def is_signed_for_invite(signed: Mapping[str, Any], invite_content: Mapping[str, Any]) -> bool:
    """Whether any signature in `signed` is valid under any public key of the m.room.third_party_invite event."""
    try:
        message = signable_bytes(signed)
    except CanonicalJsonError:
        return False
    signatures = list(_signatures_in(signed))
    for key_base64 in public_keys_of(invite_content):
        try:
            key = verify_key_of(key_base64)
        except ValueError:
            continue
        if any(is_valid_signature(message, signature, key) for signature in signatures):
            return True
    return False


def _signatures_in(signed: Mapping[str, Any]) -> Iterator[str]:
    signatures = signed.get("signatures")
    for by_key in signatures.values() if isinstance(signatures, dict) else []:
        for key_id, signature in by_key.items() if isinstance(by_key, dict) else []:
            if key_id.startswith(f"{ALGORITHM}:") and isinstance(signature, str):
                yield signature
