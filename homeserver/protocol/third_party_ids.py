"""Third-party identifiers in their canonical form: one spelling for each e-mail address.

Spec: appendices #3pid-types
"""

from __future__ import annotations

import re

from homeserver.protocol.errors import invalid_param

EMAIL = "email"
MSISDN = "msisdn"
MEDIUMS = (EMAIL, MSISDN)

_LONGEST_ADDRESS = 254
_LONGEST_LOCALPART = 64
# What mail servers take in practice: no quoted local parts, no comments, no literal IP addresses.
_ADDRESS = re.compile(
    r"[^\s@\"(),:;<>\[\]\\\x00-\x20\x7f]+@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)*[^\W_](?:[\w-]{0,61}[^\W_])?"
)
_MSISDN = re.compile(r"[1-9][0-9]{4,14}", re.ASCII)
_OPAQUE = re.compile(r"[0-9a-zA-Z.=_-]{1,255}", re.ASCII)


def canonical_email(address: str) -> str:
    """The address with its case folded; M_INVALID_PARAM for what is no address."""
    folded = address.strip().casefold()
    localpart, _, domain = folded.rpartition("@")
    is_sound = _ADDRESS.fullmatch(folded) is not None and ".." not in localpart and not localpart.startswith(".")
    if not is_sound or localpart.endswith(".") or len(folded) > _LONGEST_ADDRESS or len(localpart) > _LONGEST_LOCALPART:
        raise invalid_param("This is not an e-mail address.")
    if domain.isascii() and domain.replace(".", "").isdigit():
        raise invalid_param("This is not an e-mail address.")
    return folded


def canonical_address(medium: str, address: str) -> str:
    """The canonical form of an address that claims to be in it already; M_INVALID_PARAM."""
    if medium == EMAIL:
        return canonical_email(address)
    if medium == MSISDN and _MSISDN.fullmatch(address):
        return address
    raise invalid_param("This is not a third-party identifier.")


def domain_of(address: str) -> str:
    """The part of an e-mail address behind the `@`."""
    return address.rpartition("@")[2]


def is_opaque_text(text: str) -> bool:
    """Whether a text can be a client secret, a session ID or a token."""
    return _OPAQUE.fullmatch(text) is not None
