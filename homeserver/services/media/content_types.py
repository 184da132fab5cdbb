"""Content types and file names: what is taken from uploads, and what browsers may show.

Spec: client-server-api #serving-inline-content
"""

from __future__ import annotations

import re

from homeserver.protocol.errors import invalid_param

UNKNOWN_TYPE = "application/octet-stream"
INLINE_TYPES = frozenset(
    {
        *("text/css", "text/plain", "text/csv", "application/json", "application/ld+json"),
        *("image/jpeg", "image/gif", "image/png", "image/apng", "image/webp", "image/avif"),
        *("video/mp4", "video/webm", "video/ogg", "video/quicktime"),
        *("audio/mp4", "audio/webm", "audio/aac", "audio/mpeg", "audio/ogg", "audio/wave", "audio/wav", "audio/x-wav"),
        *("audio/x-pn-wav", "audio/flac", "audio/x-flac"),
    }
)
THUMBNAIL_TYPES = frozenset({"image/jpeg", "image/png", "image/apng", "image/gif", "image/webp"})

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r'"(?:[\t !#-\[\]-~]|\\[\t -~])*"'
_CONTENT_TYPE = re.compile(rf"{_WORD}/{_WORD}(?:[ \t]*;[ \t]*{_WORD}=(?:{_WORD}|{_QUOTED}))*", re.ASCII)
_LONGEST_TYPE = 255
_LONGEST_FILENAME = 512
_NOT_STORABLE = re.compile("[\x00\ud800-\udfff]")


def checked_content_type(header: str | None) -> str:
    """A `Content-Type` header as it may be sent to others; what is missing or malformed counts as unknown bytes."""
    text = (header or "").strip()
    if len(text) > _LONGEST_TYPE or _CONTENT_TYPE.fullmatch(text) is None:
        return UNKNOWN_TYPE
    return text


def essence_of(content_type: str) -> str:
    """The type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def may_be_inline(content_type: str) -> bool:
    """Whether browsers may show this type in place; everything else they are told to save."""
    return essence_of(content_type) in INLINE_TYPES


def checked_filename(filename: str | None) -> str | None:
    """The name as uploaded, None if empty. M_INVALID_PARAM for one that is too long or cannot be stored."""
    if not filename:
        return None
    if len(filename) > _LONGEST_FILENAME:
        raise invalid_param(f"A file name may have at most {_LONGEST_FILENAME} characters.")
    if _NOT_STORABLE.search(filename):
        raise invalid_param("This cannot be the name of a file.")
    return filename
