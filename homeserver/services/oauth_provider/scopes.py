"""What a client asks for: all of the client-server API, as one device.

Spec: client-server-api #scope
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from homeserver.services.oauth_provider.errors import InvalidScopeError

# The stable names, and those of MSC2967 that clients in the field still send.
API_SCOPES = ("urn:matrix:client:api:*", "urn:matrix:org.matrix.msc2967.client:api:*")
DEVICE_SCOPES = ("urn:matrix:client:device:", "urn:matrix:org.matrix.msc2967.client:device:")
_TOKENS = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*")
_LONGEST_SCOPE = 2_000
_LONGEST_DEVICE_ID = 255


@dataclass(frozen=True, slots=True)
class DeviceScope:
    """A scope that was understood: its text in the client's own names, and the device the client wants to be."""

    text: str
    device_id: str


def parse_scope(text: str | None) -> DeviceScope:
    """The part of a scope that this server grants; the rest (`openid` ...) is left out, as RFC 6749 allows.

    InvalidScopeError unless it asks for the whole API and exactly one device.
    """
    if not text or len(text) > _LONGEST_SCOPE or _TOKENS.fullmatch(text) is None:
        raise InvalidScopeError("The scope is missing or malformed.")
    tokens = list(dict.fromkeys(text.split(" ")))
    api = [token for token in tokens if token in API_SCOPES]
    devices = [token for token in tokens if token.startswith(DEVICE_SCOPES)]
    if not api:
        raise InvalidScopeError("The scope must contain urn:matrix:client:api:*.")
    device_ids = {_device_id(token) for token in devices}
    if len(device_ids) != 1:
        raise InvalidScopeError("The scope must contain exactly one urn:matrix:client:device: token.")
    (device_id,) = device_ids
    if not 1 <= len(device_id) <= _LONGEST_DEVICE_ID:
        raise InvalidScopeError(f"A device ID has 1 to {_LONGEST_DEVICE_ID} characters.")
    return DeviceScope(" ".join(token for token in tokens if token in api or token in devices), device_id)


def is_within(scope: str, granted: str) -> bool:
    """Whether a scope asks for nothing that was not granted."""
    return set(scope.split()) <= set(granted.split())


def _device_id(token: str) -> str:
    prefix = next(prefix for prefix in DEVICE_SCOPES if token.startswith(prefix))
    return token[len(prefix) :]
