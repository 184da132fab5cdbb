"""Which thumbnail answers a request: never smaller than asked for, and few different ones for each picture.

The standard sizes are made together; larger ones, and crops of other shapes, are made when asked for, on a coarse
grid, so that nobody can fill the disk with thumbnails one pixel apart.

Spec: client-server-api #thumbnails
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from homeserver.plugin_api.media import ThumbnailMethod, ThumbnailSize

STANDARD_SIZES = (
    ThumbnailSize(32, 32, "crop"),
    ThumbnailSize(96, 96, "crop"),
    ThumbnailSize(320, 240, "scale"),
    ThumbnailSize(640, 480, "scale"),
    ThumbnailSize(800, 600, "scale"),
)
_SCALES = (*(size for size in STANDARD_SIZES if size.method == "scale"), ThumbnailSize(1600, 1200, "scale"))
_CROP_EDGES = (32, 96, 240, 480, 960)
_CROP_STEPS = 16  # so 1:1, 4:3 and 16:9 are met exactly
WHOLE = ThumbnailSize(65_535, 65_535, "scale")
"""For requests larger than any size made: the picture in its own size, still and without metadata."""


@dataclass(frozen=True, slots=True)
class ThumbnailRequest:
    """What a client asks for, in pixels. The specification's minimum: larger is fine, smaller is not."""

    width: int
    height: int
    method: ThumbnailMethod = "scale"
    animated: bool = False


def size_to_make(request: ThumbnailRequest) -> ThumbnailSize:
    """The size to serve for a request: the smallest of those made that is not smaller in either direction."""
    size = _crop(request.width, request.height) if request.method == "crop" else _scale(request.width, request.height)
    return replace(size, animated=request.animated)


def made_together(size: ThumbnailSize) -> tuple[ThumbnailSize, ...]:
    """The sizes to make when one of them is missing: all standard ones in one go, others alone."""
    return STANDARD_SIZES if size in STANDARD_SIZES else (size,)


def _scale(width: int, height: int) -> ThumbnailSize:
    for size in _SCALES:
        if size.width >= width and size.height >= height:
            return size
    return WHOLE


def _crop(width: int, height: int) -> ThumbnailSize:
    longer, shorter = max(width, height), min(width, height)
    for edge in _CROP_EDGES:
        if edge >= longer:
            steps = -(-shorter * _CROP_STEPS // longer)
            other = edge * steps // _CROP_STEPS
            return ThumbnailSize(*((edge, other) if width >= height else (other, edge)), "crop")
    return WHOLE
