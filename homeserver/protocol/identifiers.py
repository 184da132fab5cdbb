"""Grammar of server names and of user, room, alias and event identifiers.
Predicates take any text and never raise; `check_...` functions raise M_INVALID_PARAM.

Spec: appendices #identifier-grammar
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from homeserver.protocol.errors import invalid_param

MAX_IDENTIFIER_BYTES = 255

_SERVER_NAME = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z.-]{1,255})(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
_IPV4_SHAPE = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}", re.ASCII)
_NEW_LOCALPART = re.compile(r"[a-z0-9._=/+-]+", re.ASCII)
_OPAQUE_ID = re.compile(r"[0-9A-Za-z._~-]{1,255}", re.ASCII)
_NAMESPACED_ID = re.compile(r"[a-z][a-z0-9._-]{0,254}", re.ASCII)
_HASH_OF_EVENT = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_SURROGATE_OR_NUL = re.compile("[\x00\ud800-\udfff]")


def server_name_of(identifier: str) -> str:
    """The part after the first colon; empty when the identifier has no server name."""
    return identifier.partition(":")[2]


def localpart_of(identifier: str) -> str:
    """The part between the sigil and the first colon."""
    return identifier[1:].partition(":")[0]


def split_server_name(server_name: str) -> tuple[str, int | None]:
    """Host (an IPv6 literal keeps its brackets) and port, None without one. ValueError when it is no server name."""
    match = _SERVER_NAME.fullmatch(server_name)
    if match is None:
        raise ValueError(f"{server_name!r} is not a server name")
    port = match["port"]
    return match["host"], int(port) if port else None


def is_server_name(text: str) -> bool:
    match = _SERVER_NAME.fullmatch(text)
    if match is None:
        return False
    port = match["port"]
    if port and int(port) > 65535:
        return False
    host = match["host"]
    if host[0] == "[":
        return _is_ipv6(host[1:-1])
    return _is_ipv4(host) if _IPV4_SHAPE.fullmatch(host) else True


def is_ip_literal(host: str) -> bool:
    """Whether a host (no port) is an IPv4 address or an IPv6 address, with or without brackets."""
    if host.startswith("["):
        return host.endswith("]") and _is_ipv6(host[1:-1])
    return _is_ipv4(host) or _is_ipv6(host)


def is_user_id(text: str) -> bool:
    """Any user ID that must be accepted from other servers, historical localparts included (even an empty one)."""
    return _has_sigil_localpart_and_domain(text, "@")


def is_historical_user_id(text: str) -> bool:
    """A user ID servers must accept in events, but whose localpart new users may not have."""
    return is_user_id(text) and not is_new_localpart(localpart_of(text))


def is_compliant_user_id(text: str) -> bool:
    """Whether a user ID may be forwarded to clients outside of events: a localpart of visible ASCII only.

    Spec: appendices #historical-user-ids
    """
    localpart = localpart_of(text)
    return is_user_id(text) and localpart != "" and all("!" <= character <= "~" for character in localpart)


def is_new_localpart(localpart: str) -> bool:
    """The strict grammar, which every user registered today must follow (the length of the whole ID is not checked)."""
    return _NEW_LOCALPART.fullmatch(localpart) is not None


def is_room_id(text: str) -> bool:
    """Both forms: `!opaque:domain`, and `!` followed by the hash of the create event."""
    if not text.startswith("!"):
        return False
    if ":" in text:
        return _has_sigil_localpart_and_domain(text, "!")
    return _HASH_OF_EVENT.fullmatch(text, 1) is not None


def is_room_alias(text: str) -> bool:
    return _has_sigil_localpart_and_domain(text, "#") and not text.startswith("#:")


def is_event_id(text: str) -> bool:
    """`$` and anything else: event IDs are opaque, in each room version of another form."""
    return len(text) > 1 and text[0] == "$" and _is_short_and_legal(text)


def is_opaque_id(text: str) -> bool:
    """Spec: appendices #opaque-identifiers"""
    return _OPAQUE_ID.fullmatch(text) is not None


def is_namespaced_id(text: str) -> bool:
    """Spec: appendices #common-namespaced-identifier-grammar"""
    return _NAMESPACED_ID.fullmatch(text) is not None


def check_user_id(text: object) -> str:
    if isinstance(text, str) and is_user_id(text):
        return text
    raise invalid_param(f"{_shown(text)} is not a user ID.")


def check_room_id(text: object) -> str:
    if isinstance(text, str) and is_room_id(text):
        return text
    raise invalid_param(f"{_shown(text)} is not a room ID.")


def check_room_alias(text: object) -> str:
    if isinstance(text, str) and is_room_alias(text):
        return text
    raise invalid_param(f"{_shown(text)} is not a room alias.")


def check_event_id(text: object) -> str:
    if isinstance(text, str) and is_event_id(text):
        return text
    raise invalid_param(f"{_shown(text)} is not an event ID.")


def check_server_name(text: object) -> str:
    if isinstance(text, str) and is_server_name(text):
        return text
    raise invalid_param(f"{_shown(text)} is not a server name.")


def _has_sigil_localpart_and_domain(text: str, sigil: str) -> bool:
    if not text.startswith(sigil) or not _is_short_and_legal(text):
        return False
    colon = text.find(":")
    return colon > 0 and is_server_name(text[colon + 1 :])


def _is_short_and_legal(text: str) -> bool:
    if text.isascii():
        return len(text) <= MAX_IDENTIFIER_BYTES and "\x00" not in text
    if _SURROGATE_OR_NUL.search(text):
        return False
    return len(text.encode()) <= MAX_IDENTIFIER_BYTES


def _is_ipv4(text: str) -> bool:
    parts = text.split(".")
    if len(parts) == 4 and all(part.isascii() and part.isdigit() and len(part) <= 3 for part in parts):
        return all(int(part) <= 255 for part in parts)
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True


def _is_ipv6(text: str) -> bool:
    try:
        return IPv6Address(text).scope_id is None
    except AddressValueError:
        return False


def _shown(value: object) -> str:
    return f"'{value}'" if isinstance(value, str) and len(value) <= MAX_IDENTIFIER_BYTES else "This value"
