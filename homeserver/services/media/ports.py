"""The ports of the content repository: other servers' media, who may upload, and no maker of thumbnails.

Federation and plugins implement them; the implementations here are for a server that has neither.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from homeserver.plugin_api.media import NotAnImage, Thumbnail, ThumbnailSize
from homeserver.protocol.errors import not_found


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file another server is sending: what it says of it, and its bytes as they come."""

    content_type: str
    filename: str | None
    chunks: AsyncIterator[bytes]


class RemoteMedia(Protocol):
    """Fetches media of other servers; federation implements it."""

    def fetch(
        self, server_name: str, media_id: str, *, max_bytes: int, timeout_ms: int
    ) -> AbstractAsyncContextManager[RemoteFile]:
        """The file, open for reading while the context lasts.

        Entering and reading raise MatrixError: M_NOT_FOUND, M_NOT_YET_UPLOADED (504) when it is not there within
        `timeout_ms`, M_TOO_LARGE (502) past `max_bytes`, M_UNKNOWN (502) when the other server does not answer.
        """


class NoRemoteMedia:
    """A server without federation has nobody to ask."""

    def fetch(
        self, server_name: str, media_id: str, *, max_bytes: int, timeout_ms: int
    ) -> AbstractAsyncContextManager[RemoteFile]:
        raise not_found("This media is not on this server.")


class UploadGate(Protocol):
    """Where uploads may be refused: quotas, forbidden types, and the like."""

    async def check_upload(self, user_id: str, content_type: str, announced_size: int | None) -> None:
        """Asked before the first byte is read; `announced_size` is what the client says. Raises MatrixError."""

    async def check_uploaded(self, user_id: str, content_type: str, size: int, sha256: bytes) -> None:
        """Asked before the file can be seen by anybody. Raises MatrixError, and the bytes are thrown away."""


class OpenUploadGate:
    """Lets everybody upload everything."""

    async def check_upload(self, user_id: str, content_type: str, announced_size: int | None) -> None:
        return

    async def check_uploaded(self, user_id: str, content_type: str, size: int, sha256: bytes) -> None:
        return


class NoThumbnailer:
    """Implements `Thumbnailer` where no plugin does."""

    async def thumbnail(self, source: Path, content_type: str, sizes: Sequence[ThumbnailSize]) -> list[Thumbnail]:
        raise NotAnImage("no plugin of this server makes thumbnails")
