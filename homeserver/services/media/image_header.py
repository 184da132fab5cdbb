"""The size of a picture, and whether it moves, from its first bytes: JPEG, PNG, GIF and WebP.

Nothing is decoded: these few bytes are safe to look at, whoever sent them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

HEAD_BYTES = 131_072
"""How much of a file is looked at; a JPEG may carry long metadata before its size."""

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Width and height in pixels, as stored (before any rotation). A GIF always counts as moving."""

    content_type: str
    width: int
    height: int
    animated: bool = False


def find_image_header(head: bytes) -> ImageHeader | None:
    """What the first bytes of a file say; None if they are not the start of a picture known here."""
    try:
        if head.startswith(_PNG):
            return _png(head)
        if head.startswith((b"GIF87a", b"GIF89a")):
            width, height = struct.unpack_from("<HH", head, 6)
            return _checked(ImageHeader("image/gif", width, height, animated=True))
        if head.startswith(b"\xff\xd8\xff"):
            return _jpeg(head)
        if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
            return _webp(head)
    except (struct.error, IndexError):
        return None
    return None


def _checked(header: ImageHeader) -> ImageHeader | None:
    return header if header.width > 0 and header.height > 0 else None


def _png(head: bytes) -> ImageHeader | None:
    if head[12:16] != b"IHDR":
        return None
    width, height = struct.unpack_from(">II", head, 16)
    return _checked(ImageHeader("image/png", width, height, animated=_has_animation_chunk(head)))


def _has_animation_chunk(head: bytes) -> bool:
    place = 8
    while place + 8 <= len(head):
        length, kind = struct.unpack_from(">I4s", head, place)
        if kind in (b"acTL", b"IDAT"):
            return bool(kind == b"acTL")
        place += 12 + length
    return False


def _jpeg(head: bytes) -> ImageHeader | None:
    place = 2
    while place + 4 <= len(head):
        if head[place] != 0xFF:
            return None
        marker = head[place + 1]
        if marker == 0xFF:  # padding
            place += 1
        elif marker in _JPEG_ALONE:
            place += 2
        elif marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", head, place + 5)
            return _checked(ImageHeader("image/jpeg", width, height))
        else:
            (length,) = struct.unpack_from(">H", head, place + 2)
            place += 2 + max(2, length)
    return None


def _webp(head: bytes) -> ImageHeader | None:
    kind = head[12:16]
    if kind == b"VP8X":
        width = int.from_bytes(head[24:27], "little") + 1
        height = int.from_bytes(head[27:30], "little") + 1
        return ImageHeader("image/webp", width, height, animated=bool(head[20] & 0x02)) if len(head) >= 30 else None
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        return ImageHeader("image/webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 26)
        return _checked(ImageHeader("image/webp", width & 0x3FFF, height & 0x3FFF))
    return None
