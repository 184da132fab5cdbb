"""What a media plugin provides: a place to keep files, and a maker of thumbnails.
The protocols of what the hooks `provide_media_store` and `provide_thumbnailer` return."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

ThumbnailMethod = Literal["crop", "scale"]


class NotAnImage(Exception):
    """The source is not a picture this thumbnailer can read, or is too large to be read safely."""


@dataclass(frozen=True, slots=True)
class ThumbnailSize:
    """The size asked for, in pixels, and how to reach it.

    `scale` keeps the picture's proportions inside the box, `crop` fills the box. `animated` asks for a moving
    thumbnail where the source moves.
    """

    width: int
    height: int
    method: ThumbnailMethod = "scale"
    animated: bool = False


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """One finished thumbnail: the size it was asked for, its media type and its bytes."""

    size: ThumbnailSize
    content_type: str
    data: bytes


class MediaStore(Protocol):
    """Keeps the bytes of media by an opaque id (letters, digits, `-`, `_`, `/` and `.`; never `..`)."""

    async def store(self, media_id: str, chunks: AsyncIterator[bytes]) -> None:
        """Keep the bytes; readers see the whole file or nothing. Storing an id again replaces it."""

    async def open(self, media_id: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to, without, `end`, in chunks. Raises KeyError when the id is not stored."""

    async def delete(self, media_id: str) -> None:
        """Forget the bytes; an id that is not stored is no mistake."""

    async def exists(self, media_id: str) -> bool:
        """Whether `open` would find the id."""


@runtime_checkable
class MediaLinks(Protocol):
    """What a media store may offer besides: URLs from which clients fetch the bytes themselves."""

    async def find_link(self, media_id: str, content_type: str, content_disposition: str) -> str | None:
        """A URL that works for a short time, if possible with these headers; None where there is none to be had."""


class Thumbnailer(Protocol):
    """Makes small pictures out of a big one."""

    async def thumbnail(self, source: Path, content_type: str, sizes: Sequence[ThumbnailSize]) -> list[Thumbnail]:
        """One thumbnail per size, in order, from the file at `source`. Raises NotAnImage."""
