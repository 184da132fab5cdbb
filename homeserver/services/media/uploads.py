"""Uploads: at once, or in two steps with an id made in advance.

Spec: client-server-api #content-repository
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from homeserver.protocol.errors import MatrixError, forbidden, limit_exceeded, not_found, too_large
from homeserver.services.media.content_types import checked_content_type, checked_filename
from homeserver.storage import media as media_rows
from homeserver.storage.media import Media, StoredBytes

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.services.media.arrivals import Arrivals
    from homeserver.services.media.intake import Intake
    from homeserver.services.media.ports import UploadGate
    from homeserver.storage.database import Database
    from homeserver_config.sections.media import MediaSettings

_MOST_PENDING = 20


class Uploads:
    """Takes what users upload. `most_pending` bounds the ids one user may have waiting for their uploads."""

    def __init__(
        self,
        settings: MediaSettings,
        server_name: str,
        database: Database,
        clock: Clock,
        intake: Intake,
        arrivals: Arrivals,
        gate: UploadGate,
        *,
        most_pending: int = _MOST_PENDING,
    ) -> None:
        self._settings = settings
        self._server_name = server_name
        self._database = database
        self._clock = clock
        self._intake = intake
        self._arrivals = arrivals
        self._gate = gate
        self._most_pending = most_pending

    @property
    def max_size(self) -> int:
        """The largest upload accepted, in bytes."""
        return self._settings.max_upload_size

    async def upload(
        self,
        user_id: str,
        content_type: str | None,
        filename: str | None,
        chunks: AsyncIterator[bytes],
        announced_size: int | None = None,
    ) -> str:
        """Store a file; its `mxc:` URI. M_TOO_LARGE, M_INVALID_PARAM, or what the gate refuses with."""
        media_id = self._intake.new_id()
        content_type, filename = checked_content_type(content_type), checked_filename(filename)
        async with self._taken(user_id, content_type, chunks, announced_size, media_id) as stored:
            row = self._new_row(user_id, media_id, content_type, filename, stored)
            await self._database.write(media_rows.create_media, row)
        return self._uri(media_id)

    async def create(self, user_id: str) -> tuple[str, int]:
        """Make an id in advance: its `mxc:` URI and when it expires. M_LIMIT_EXCEEDED with too many waiting."""
        media_id, now_ms = self._intake.new_id(), self._clock.now_ms()
        expires_ms = now_ms + self._settings.unused_upload_lifetime
        row = self._new_row(user_id, media_id, checked_content_type(None), None, None, expires_ms)
        first_expires_ms = await self._database.write(media_rows.reserve_media, row, self._most_pending)
        if first_expires_ms is not None:
            raise limit_exceeded(max(1, first_expires_ms - now_ms))
        return self._uri(media_id), expires_ms

    async def upload_to(
        self,
        user_id: str,
        server_name: str,
        media_id: str,
        content_type: str | None,
        filename: str | None,
        chunks: AsyncIterator[bytes],
        announced_size: int | None = None,
    ) -> None:
        """Upload what an id was made for. M_NOT_FOUND, M_FORBIDDEN, M_CANNOT_OVERWRITE_MEDIA, and as `upload`."""
        await self._check_waiting(user_id, server_name, media_id)
        content_type, filename = checked_content_type(content_type), checked_filename(filename)
        key = (server_name, media_id)
        async with self._taken(user_id, content_type, chunks, announced_size) as stored:
            if not await self._database.write(media_rows.finish_upload, key, content_type, filename, stored):
                raise _cannot_overwrite()
        self._arrivals.announce(media_id)

    @asynccontextmanager
    async def _taken(
        self,
        user_id: str,
        content_type: str,
        chunks: AsyncIterator[bytes],
        announced_size: int | None,
        store_id: str | None = None,
    ) -> AsyncIterator[StoredBytes]:
        """The bytes in the store, for as long as nothing fails; after a failure they are thrown away."""
        error = too_large(f"An upload may have at most {self.max_size} bytes.")
        if announced_size is not None and announced_size > self.max_size:
            raise error
        await self._gate.check_upload(user_id, content_type, announced_size)
        stored = await self._intake.take(chunks, self.max_size, error, store_id)
        try:
            await self._gate.check_uploaded(user_id, content_type, stored.size, stored.sha256)
            yield stored
        except BaseException:
            await self._intake.discard(stored)
            raise

    async def _check_waiting(self, user_id: str, server_name: str, media_id: str) -> None:
        row = await self._database.read(media_rows.find_media, (server_name, media_id))
        if row is None or row.kind != "upload":
            raise not_found("There is no such media id.")
        if row.user_id != user_id:
            raise forbidden("This media id was made by somebody else.")
        if row.is_uploaded:
            raise _cannot_overwrite()
        if row.expires_ms is not None and row.expires_ms < self._clock.now_ms():
            raise not_found("This media id has expired.")

    def _new_row(
        self,
        user_id: str,
        media_id: str,
        content_type: str,
        filename: str | None,
        stored: StoredBytes | None,
        expires_ms: int | None = None,
    ) -> Media:
        now_ms = self._clock.now_ms()
        return Media(
            server_name=self._server_name,
            media_id=media_id,
            kind="upload",
            user_id=user_id,
            content_type=content_type,
            filename=filename,
            created_ms=now_ms,
            last_access_ms=now_ms,
            public=self._settings.unauthenticated_downloads,
            size=stored.size if stored else None,
            sha256=stored.sha256 if stored else None,
            store_id=stored.store_id if stored else None,
            width=stored.width if stored else None,
            height=stored.height if stored else None,
            animated=stored.animated if stored else False,
            expires_ms=expires_ms,
        )

    def _uri(self, media_id: str) -> str:
        return f"mxc://{self._server_name}/{media_id}"


def _cannot_overwrite() -> MatrixError:
    return MatrixError("M_CANNOT_OVERWRITE_MEDIA", "This media id already has its content.", 409)
