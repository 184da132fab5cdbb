"""Thumbnails that were made of media: rows of `media_thumbnails`.

A row says what size was asked for; the bytes are in the media store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, select

from homeserver.storage.tables.media import media_thumbnails
from homeserver.storage.upsert import insert_or_update

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction
    from homeserver.storage.media import MediaKey


@dataclass(frozen=True, slots=True)
class StoredThumbnail:
    """One thumbnail: the size that was asked for (pixels), how it was reached, and where its bytes are."""

    width: int
    height: int
    method: str
    animated: bool
    content_type: str
    size: int
    store_id: str


_NAMES = ("width", "height", "method", "animated", "content_type", "size", "store_id")
_OF_MEDIA = (
    media_thumbnails.c.server_name == bindparam("server"),
    media_thumbnails.c.media_id == bindparam("id"),
)
_SELECT = (
    select(*(media_thumbnails.c[name] for name in _NAMES))
    .where(*_OF_MEDIA)
    .order_by(media_thumbnails.c.width, media_thumbnails.c.height)
)
_STORE = insert_or_update(
    media_thumbnails,
    ["server_name", "media_id", "width", "height", "method", "animated"],
    ["content_type", "size", "store_id"],
)
_DELETE = delete(media_thumbnails).where(*_OF_MEDIA)


def load_thumbnails(connection: Connection, key: MediaKey) -> list[StoredThumbnail]:
    """All thumbnails of a file, smallest first."""
    return [StoredThumbnail(*row) for row in connection.execute(_SELECT, {"server": key[0], "id": key[1]})]


def store_thumbnails(tx: Transaction, key: MediaKey, thumbnails: Sequence[StoredThumbnail]) -> None:
    """Add thumbnails of a file; one of the same size is replaced."""
    rows = [
        {"server_name": key[0], "media_id": key[1], **{name: getattr(thumbnail, name) for name in _NAMES}}
        for thumbnail in thumbnails
    ]
    if rows:
        tx.connection.execute(_STORE, rows)


def delete_thumbnails(tx: Transaction, key: MediaKey) -> None:
    """Forget all thumbnails of a file."""
    tx.connection.execute(_DELETE, {"server": key[0], "id": key[1]})
