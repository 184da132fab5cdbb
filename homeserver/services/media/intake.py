"""Takes a stream of bytes into the media store: counted, hashed and looked at on the way, never whole in memory.

Whatever fails on the way leaves nothing behind.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from homeserver.services.media.image_header import HEAD_BYTES, ImageHeader, find_image_header
from homeserver.storage.media import StoredBytes

if TYPE_CHECKING:
    from homeserver.plugin_api.media import MediaStore
    from homeserver.protocol.errors import MatrixError
    from homeserver.runtime.randomness import Randomness

_ID_BYTES = 18


class Intake:
    """Stores bytes under new ids, which also serve as media ids."""

    def __init__(self, store: MediaStore, randomness: Randomness) -> None:
        self._store = store
        self._randomness = randomness

    def new_id(self) -> str:
        """24 letters, digits, `-` and `_` that nobody can guess."""
        return self._randomness.token(_ID_BYTES)

    async def take(
        self, chunks: AsyncIterator[bytes], limit: int, too_large: MatrixError, store_id: str | None = None
    ) -> StoredBytes:
        """Store all bytes; raises `too_large` as soon as there are more than `limit`."""
        store_id = store_id or self.new_id()
        stream = _ObservedStream(chunks, limit, too_large)
        await self._store.store(store_id, stream.read())
        header = stream.image_header()
        return StoredBytes(
            store_id,
            stream.size,
            stream.sha256,
            width=header.width if header else None,
            height=header.height if header else None,
            animated=header.animated if header else False,
        )

    async def discard(self, stored: StoredBytes) -> None:
        """Throw away bytes that no row came to speak of."""
        await self._store.delete(stored.store_id)


class _ObservedStream:
    """Chunks on their way into the store, and what they add up to."""

    def __init__(self, chunks: AsyncIterator[bytes], limit: int, too_large: MatrixError) -> None:
        self.size = 0
        self._chunks = chunks
        self._limit = limit
        self._too_large = too_large
        self._hash = hashlib.sha256()
        self._head = bytearray()

    @property
    def sha256(self) -> bytes:
        return self._hash.digest()

    def image_header(self) -> ImageHeader | None:
        return find_image_header(bytes(self._head))

    async def read(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            self.size += len(chunk)
            if self.size > self._limit:
                raise self._too_large
            self._hash.update(chunk)
            if len(self._head) < HEAD_BYTES:
                self._head += chunk[: HEAD_BYTES - len(self._head)]
            yield chunk
