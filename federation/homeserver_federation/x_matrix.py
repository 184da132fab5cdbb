"""The X-Matrix scheme: what the signature of a request covers, and how its header is written and read.

Spec: server-server-api #request-authentication
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from homeserver.protocol.base64 import encode_base64
from homeserver.protocol.signing import SigningKey, VerifyKey, is_valid_signature, signable_bytes

SCHEME = "X-Matrix"
NO_CONTENT = object()
"""Stands for a request without a body; null is a body."""

_HEADER = re.compile(r"x-matrix[ \t]+(.*)", re.IGNORECASE | re.DOTALL)
# A quoted value may hold anything, an unquoted one (more than the RFC allows) anything but separators.
_PARAMETER = re.compile(r"""[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))[ \t]*""")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class XMatrix:
    """One header. `destination` is None in requests of old servers."""

    origin: str
    destination: str | None
    key_id: str
    signature: str


def signed_bytes(method: str, target: str, origin: str, destination: str, content: Any = NO_CONTENT) -> bytes:
    """What the signature covers. Tolerant, for PDUs of old rooms may hold any number. Raises CanonicalJsonError."""
    request: dict[str, Any] = {"method": method, "uri": target, "origin": origin, "destination": destination}
    if content is not NO_CONTENT:
        request["content"] = content
    return signable_bytes(request, strict=False)


def authorization_header(
    method: str, target: str, origin: str, destination: str, key: SigningKey, content: Any = NO_CONTENT
) -> str:
    """The value of `Authorization`. `target` is the path with the query, exactly as it goes over the wire."""
    signature = encode_base64(key.sign(signed_bytes(method, target, origin, destination, content)))
    return f'{SCHEME} origin="{origin}",destination="{destination}",key="{key.key_id}",sig="{signature}"'


def parse_authorization(value: str) -> XMatrix | None:
    """The parameters of a header in any order, case and quoting; None when it is no such header or lacks one."""
    match = _HEADER.fullmatch(value.strip())
    if match is None:
        return None
    parameters: dict[str, str] = {}
    rest, at = match[1], 0
    while at < len(rest):
        parameter = _PARAMETER.match(rest, at)
        if parameter is None:
            return None
        name, quoted, plain = parameter.groups()
        parameters.setdefault(name.lower(), plain if quoted is None else _ESCAPED.sub(r"\1", quoted))
        at = parameter.end()
        if at < len(rest):
            if rest[at] != ",":
                return None
            at += 1
    try:
        origin, key_id, signature = parameters["origin"], parameters["key"], parameters["sig"]
    except KeyError:
        return None
    return XMatrix(origin, parameters.get("destination"), key_id, signature)


def is_signed_by(
    header: XMatrix, verify_key: VerifyKey, method: str, target: str, destination: str, content: Any = NO_CONTENT
) -> bool:
    """Whether the header's signature covers this request. Raises CanonicalJsonError."""
    message = signed_bytes(method, target, header.origin, destination, content)
    return is_valid_signature(message, header.signature, verify_key)
