"""Finds media for downloads: of this server, and copies of other servers' that are fetched when first asked for.

Spec: client-server-api #content-repository
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from homeserver.plugin_api.media import MediaLinks
from homeserver.protocol.errors import MatrixError, not_found
from homeserver.protocol.identifiers import is_server_name
from homeserver.services.media.content_types import checked_content_type
from homeserver.services.media.single_flight import SingleFlight
from homeserver.storage import media as media_rows
from homeserver.storage.media import Media, MediaKey, StoredBytes

if TYPE_CHECKING:
    from homeserver.plugin_api.media import MediaStore
    from homeserver.runtime.clock import Clock
    from homeserver.services.media.arrivals import Arrivals
    from homeserver.services.media.intake import Intake
    from homeserver.services.media.ports import RemoteFile, RemoteMedia
    from homeserver.storage.database import Database
    from homeserver_config.sections.media import MediaSettings

LONGEST_WAIT_MS = 60_000
_MEDIA_ID = re.compile(r"[A-Za-z0-9_-]{1,255}", re.ASCII)
_LONGEST_FILENAME = 512
_MOST_ACCESSES = 50_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a download asks for. `public_only`: by somebody who has not logged in. `timeout_ms`: how long to wait."""

    server_name: str
    media_id: str
    allow_remote: bool = True
    timeout_ms: int = 20_000
    public_only: bool = False


class Library:
    """All media this server can give out. `flush_accesses` is to be run every minute and at the end."""

    def __init__(
        self,
        settings: MediaSettings,
        server_name: str,
        database: Database,
        clock: Clock,
        store: MediaStore,
        intake: Intake,
        arrivals: Arrivals,
        remote: RemoteMedia,
    ) -> None:
        self._settings = settings
        self._server_name = server_name
        self._database = database
        self._clock = clock
        self._store = store
        self._intake = intake
        self._arrivals = arrivals
        self._remote = remote
        self._fetches: SingleFlight[MediaKey, Media] = SingleFlight()
        self._accesses: dict[MediaKey, int] = {}

    async def find(self, wanted: Wanted) -> Media:
        """The media with its bytes. M_NOT_FOUND, M_NOT_YET_UPLOADED (504), or the other server's mistake."""
        if not is_server_name(wanted.server_name) or _MEDIA_ID.fullmatch(wanted.media_id) is None:
            raise not_found("There is no such media.")
        key = (wanted.server_name, wanted.media_id)
        media = await self._load(key)
        if media is None:
            media = await self._fetch(wanted)
        self._check_may_see(media, wanted)
        if not media.is_uploaded:
            media = await self._wait(media, wanted)
            self._check_may_see(media, wanted)
        self._note_access(key)
        return media

    async def open(self, media: Media, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes of uploaded media from `start` up to, without, `end`. M_NOT_FOUND if the store lost them."""
        return await self.open_stored(media.store_id or "", start, end)

    async def open_stored(self, store_id: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """As `open`, by the id of the store."""
        try:
            return await self._store.open(store_id, start, end)
        except KeyError:
            raise not_found("The content of this media is gone.") from None

    async def find_link(self, store_id: str, content_type: str, content_disposition: str) -> str | None:
        """A URL from which a client may fetch the bytes itself, where the store has such."""
        if not isinstance(self._store, MediaLinks):
            return None
        return await self._store.find_link(store_id, content_type, content_disposition)

    async def quarantine(self, server_name: str, media_id: str, by: str) -> None:
        """Withhold media from everybody; M_NOT_FOUND if this server does not have it."""
        await self._set_quarantined(server_name, media_id, by)

    async def release(self, server_name: str, media_id: str) -> None:
        """End a quarantine; M_NOT_FOUND if this server does not have the media."""
        await self._set_quarantined(server_name, media_id, None)

    async def flush_accesses(self) -> None:
        """Write down when media were last asked for."""
        accesses, self._accesses = self._accesses, {}
        if accesses:
            await self._database.write(media_rows.touch_media, accesses)

    async def stop(self) -> None:
        """End fetches under way and write down what is to be remembered."""
        await self._fetches.stop()
        await self.flush_accesses()

    async def _load(self, key: MediaKey) -> Media | None:
        return await self._database.read(media_rows.find_media, key)

    async def _set_quarantined(self, server_name: str, media_id: str, by: str | None) -> None:
        if not await self._database.write(media_rows.set_quarantined_by, (server_name, media_id), by):
            raise not_found("There is no such media.")

    def _check_may_see(self, media: Media, wanted: Wanted) -> None:
        expired = not media.is_uploaded and media.expires_ms is not None and media.expires_ms < self._clock.now_ms()
        if media.quarantined_by is not None or expired or (wanted.public_only and not media.public):
            raise not_found("There is no such media.")

    async def _wait(self, media: Media, wanted: Wanted) -> Media:
        timeout_ms = min(max(0, wanted.timeout_ms), LONGEST_WAIT_MS)
        arrived = await self._arrivals.wait(media, timeout_ms, lambda: self._load(media.key))
        if arrived is None:
            raise not_found("There is no such media.")
        if not arrived.is_uploaded:
            raise MatrixError("M_NOT_YET_UPLOADED", "The content has not been uploaded yet.", 504)
        return arrived

    def _note_access(self, key: MediaKey) -> None:
        if len(self._accesses) < _MOST_ACCESSES:
            self._accesses[key] = self._clock.now_ms()

    async def _fetch(self, wanted: Wanted) -> Media:
        if wanted.server_name == self._server_name or not wanted.allow_remote:
            raise not_found("There is no such media.")
        if wanted.public_only and not self._settings.unauthenticated_downloads:
            raise not_found("Media of other servers can be downloaded after logging in.")
        return await self._fetches.run((wanted.server_name, wanted.media_id), lambda: self._copy(wanted))

    async def _copy(self, wanted: Wanted) -> Media:
        limit = self._settings.max_download_size
        error = MatrixError("M_TOO_LARGE", f"This server fetches at most {limit} bytes.", 502)
        timeout_ms = min(max(0, wanted.timeout_ms), LONGEST_WAIT_MS)
        async with self._remote.fetch(
            wanted.server_name, wanted.media_id, max_bytes=limit, timeout_ms=timeout_ms
        ) as remote:
            stored = await self._intake.take(remote.chunks, limit, error)
            return await self._keep(self._copied(wanted, remote, stored), stored)

    async def _keep(self, media: Media, stored: StoredBytes) -> Media:
        try:
            created = await self._database.write(media_rows.create_media, media)
        except BaseException:
            await self._intake.discard(stored)
            raise
        if created:
            return media
        await self._intake.discard(stored)  # another process was faster
        return await self._load(media.key) or media

    def _copied(self, wanted: Wanted, remote: RemoteFile, stored: StoredBytes) -> Media:
        now_ms = self._clock.now_ms()
        return Media(
            server_name=wanted.server_name,
            media_id=wanted.media_id,
            kind="remote",
            user_id=None,
            content_type=checked_content_type(remote.content_type),
            filename=_storable(remote.filename),
            created_ms=now_ms,
            last_access_ms=now_ms,
            public=self._settings.unauthenticated_downloads,
            size=stored.size,
            sha256=stored.sha256,
            store_id=stored.store_id,
            width=stored.width,
            height=stored.height,
            animated=stored.animated,
        )


def _storable(filename: str | None) -> str | None:
    """Another server's file name, cut to what is accepted from users here."""
    if not filename:
        return None
    return filename.replace("\x00", "").encode("utf-8", "ignore").decode()[:_LONGEST_FILENAME] or None
