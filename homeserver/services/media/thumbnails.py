"""Thumbnails: made when first asked for, by the thumbnailer plugin, and kept in the media store.

Spec: client-server-api #thumbnails
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from homeserver.plugin_api.media import NotAnImage, Thumbnail, ThumbnailSize
from homeserver.protocol.errors import MatrixError, not_found, too_large, unknown
from homeserver.runtime.bounded_cache import BoundedCache
from homeserver.services.media.content_types import THUMBNAIL_TYPES, essence_of
from homeserver.services.media.single_flight import SingleFlight
from homeserver.services.media.thumbnail_sizes import ThumbnailRequest, made_together, size_to_make
from homeserver.storage import media_thumbnails as thumbnail_rows
from homeserver.storage.media import Media
from homeserver.storage.media_thumbnails import StoredThumbnail

if TYPE_CHECKING:
    from homeserver.plugin_api.media import MediaStore, Thumbnailer
    from homeserver.services.media.library import Library, Wanted
    from homeserver.storage.database import Database
    from homeserver_config.sections.media import MediaSettings

_AT_ONCE = 4
_REMEMBERED_FAILURES = 10_000
_PICTURES = ("image/", "video/")


@dataclass(frozen=True, slots=True)
class Picture:
    """What answers a request for a thumbnail: bytes in the store."""

    store_id: str
    content_type: str
    size: int
    etag: str


class Thumbnails:
    """Gives out thumbnails."""

    def __init__(
        self,
        settings: MediaSettings,
        server_name: str,
        database: Database,
        store: MediaStore,
        library: Library,
        thumbnailer: Thumbnailer,
    ) -> None:
        self._settings = settings
        self._server_name = server_name
        self._database = database
        self._store = store
        self._library = library
        self._thumbnailer = thumbnailer
        self._under_way: SingleFlight[tuple[str, ThumbnailSize], list[StoredThumbnail]] = SingleFlight()
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._refused: BoundedCache[str, str] = BoundedCache("refused_thumbnails", _REMEMBERED_FAILURES)

    async def find(self, wanted: Wanted, request: ThumbnailRequest) -> Picture:
        """The thumbnail for a request, or the picture itself where that is no larger.

        M_UNKNOWN (400) for what is no picture, M_TOO_LARGE (413, for other servers' media 502), and as
        `Library.find`.
        """
        media = await self._library.find(wanted)
        if not media.animated:
            request = replace(request, animated=False)
        if _is_small_enough(media, request):
            return Picture(media.store_id or "", media.content_type, media.size or 0, media.store_id or "")
        size = size_to_make(request)
        thumbnail = _of_size(await self._database.read(thumbnail_rows.load_thumbnails, media.key), size)
        if thumbnail is None:
            self._check_can_be_made(media)
            group = made_together(size)
            made = await self._under_way.run((media.store_id or "", group[0]), lambda: self._make(media, group))
            thumbnail = _of_size(made, size)
        if thumbnail is None:
            raise unknown("This server cannot make a thumbnail of this.")
        return Picture(thumbnail.store_id, thumbnail.content_type, thumbnail.size, _etag_of(thumbnail))

    async def open(self, picture: Picture, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The picture's bytes from `start` up to, without, `end`; M_NOT_FOUND if the store lost them."""
        return await self._library.open_stored(picture.store_id, start, end)

    async def find_link(self, picture: Picture, content_disposition: str) -> str | None:
        """A URL from which a client may fetch the picture itself, where the store has such."""
        return await self._library.find_link(picture.store_id, picture.content_type, content_disposition)

    async def stop(self) -> None:
        """End what is being made."""
        await self._under_way.stop()

    def _check_can_be_made(self, media: Media) -> None:
        if media.store_id is None:
            raise not_found("There is no such media.")
        refusal = self._refused.find(media.store_id)
        if refusal is not None:
            raise unknown(refusal)
        if media.width is not None and media.height is not None:
            if media.width * media.height > self._settings.max_image_pixels:
                raise self._too_large(media)
        elif not essence_of(media.content_type).startswith(_PICTURES):
            raise unknown("Thumbnails can be made of pictures only.")

    def _too_large(self, media: Media) -> MatrixError:
        sentence = "This picture is too large for a thumbnail."
        if media.server_name == self._server_name:
            return too_large(sentence)
        return MatrixError("M_TOO_LARGE", sentence, 502)

    async def _make(self, media: Media, sizes: Sequence[ThumbnailSize]) -> list[StoredThumbnail]:
        store_id = media.store_id or ""
        async with self._at_once, self._as_file(media) as path:
            try:
                thumbnails = await self._thumbnailer.thumbnail(path, media.content_type, sizes)
            except NotAnImage as error:
                sentence = f"A thumbnail of this cannot be made: {error}."
                self._refused.put(store_id, sentence)
                raise unknown(sentence) from None
        stored = [await self._store_one(store_id, thumbnail) for thumbnail in thumbnails]
        await self._database.write(thumbnail_rows.store_thumbnails, media.key, stored)
        return stored

    async def _store_one(self, store_id: str, thumbnail: Thumbnail) -> StoredThumbnail:
        size = thumbnail.size
        name = f"thumbnails/{store_id}.{size.width}x{size.height}-{size.method}{'-animated' if size.animated else ''}"
        await self._store.store(name, _once(thumbnail.data))
        return StoredThumbnail(
            size.width, size.height, size.method, size.animated, thumbnail.content_type, len(thumbnail.data), name
        )

    @asynccontextmanager
    async def _as_file(self, media: Media) -> AsyncIterator[Path]:
        """The media as a file of its own, wherever the store keeps it."""
        chunks = await self._library.open(media)
        descriptor, name = await asyncio.to_thread(tempfile.mkstemp, prefix="thumbnail-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                async for chunk in chunks:
                    await asyncio.to_thread(file.write, chunk)
            yield Path(name)
        finally:
            await asyncio.to_thread(os.unlink, name)


def _of_size(thumbnails: Sequence[StoredThumbnail], size: ThumbnailSize) -> StoredThumbnail | None:
    wanted = (size.width, size.height, size.method, size.animated)
    for one in thumbnails:
        if (one.width, one.height, one.method, one.animated) == wanted:
            return one
    return None


def _is_small_enough(media: Media, request: ThumbnailRequest) -> bool:
    """Whether the picture itself is the answer: not larger than asked for, moving only if that was asked for."""
    if media.width is None or media.height is None or essence_of(media.content_type) not in THUMBNAIL_TYPES:
        return False
    if media.animated and not request.animated:
        return False
    return media.width <= request.width and media.height <= request.height


def _etag_of(thumbnail: StoredThumbnail) -> str:
    """Of the same picture, thumbnails differ by what was asked for and by the plugin that made them."""
    return f"{thumbnail.store_id.rpartition('/')[2]}.{thumbnail.size}"


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
