"""Removes media: what an administrator deletes, ids nobody used, copies and pictures nobody asks for.

To be run every hour or so. The bytes go before the row, so that a crash between the two leaves no stray bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from homeserver.protocol.errors import not_found
from homeserver.storage import media as media_rows
from homeserver.storage import media_thumbnails as thumbnail_rows
from homeserver.storage import url_previews as preview_rows
from homeserver.storage.media import Media, MediaKey, MediaKind

if TYPE_CHECKING:
    from homeserver.plugin_api.media import MediaStore
    from homeserver.runtime.clock import Clock
    from homeserver.storage.database import Database, Transaction
    from homeserver_config.sections.media import MediaSettings

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class MediaLifetimes:
    """How long things are kept, in milliseconds; None: for ever.

    `unfinished_ms` is how long an upload may go on after its id expired; `preview_pictures_ms` how long a picture of
    a web page is kept after it was last looked at.
    """

    remote_ms: int | None
    previews_ms: int
    unfinished_ms: int = _HOUR_MS
    preview_pictures_ms: int = 7 * _DAY_MS


def lifetimes_of(settings: MediaSettings) -> MediaLifetimes:
    """As the operator has set them."""
    return MediaLifetimes(settings.remote_lifetime, settings.url_preview_lifetime)


class MediaRetention:
    """`run` does one round; `delete` and the like are for administrators."""

    def __init__(self, lifetimes: MediaLifetimes, database: Database, clock: Clock, store: MediaStore) -> None:
        self._lifetimes = lifetimes
        self._database = database
        self._clock = clock
        self._store = store

    async def run(self) -> None:
        now_ms = self._clock.now_ms()
        await self._database.write(media_rows.delete_expired, now_ms - self._lifetimes.unfinished_ms)
        await self._database.write(preview_rows.delete_old_previews, now_ms - self._lifetimes.previews_ms)
        await self.delete_unused("preview", now_ms - self._lifetimes.preview_pictures_ms)
        if self._lifetimes.remote_ms is not None:
            await self.delete_unused("remote", now_ms - self._lifetimes.remote_ms)

    async def delete_unused(self, kind: MediaKind, before_ms: int) -> int:
        """Remove media of a kind that nobody asked for since `before_ms`; how many went."""
        count = 0
        while page := await self._database.read(media_rows.load_unused, kind, before_ms, _AT_ONCE):
            for media in page:
                await self._remove(media)
            count += len(page)
        return count

    async def delete(self, server_name: str, media_id: str) -> None:
        """Remove one file and its thumbnails for good; M_NOT_FOUND if it is not here."""
        media = await self._database.read(media_rows.find_media, (server_name, media_id))
        if media is None:
            raise not_found("There is no such media.")
        await self._remove(media)

    async def delete_of_user(self, user_id: str) -> int:
        """Remove everything a user has uploaded; how many files went."""
        count = 0
        before_ms = self._clock.now_ms() + 1
        while page := await self._database.read(media_rows.load_media_of_user, user_id, before_ms, _AT_ONCE):
            for media in page:
                await self._remove(media)
            count += len(page)
        return count

    async def _remove(self, media: Media) -> None:
        for thumbnail in await self._database.read(thumbnail_rows.load_thumbnails, media.key):
            await self._store.delete(thumbnail.store_id)
        if media.store_id is not None:
            await self._store.delete(media.store_id)
        await self._database.write(_forget, media.key)


def _forget(tx: Transaction, key: MediaKey) -> None:
    thumbnail_rows.delete_thumbnails(tx, key)
    media_rows.delete_media(tx, key)
