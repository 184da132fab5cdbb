"""From whatever a provider calls a person to a user name of this server.

Spec: appendices #mapping-from-other-character-sets
"""

from __future__ import annotations

import re
import unicodedata

_NOT_ALLOWED = re.compile(r"[^a-z0-9._=/+-]+")
_LONGEST = 64


def suggested_username(text: str) -> str:
    """A localpart made of `text`, or "" if nothing of it can be used. Of a mail address, the part before the @."""
    text = text.partition("@")[0]
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii").lower()
    return _NOT_ALLOWED.sub("-", plain.replace(" ", ".")).strip("-._=/+")[:_LONGEST]
