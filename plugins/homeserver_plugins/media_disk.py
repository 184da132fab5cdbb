"""The plugin `media_disk`: keeps media as files below one directory.

A file is written beside its place and moved there when it is whole and on the disk; readers see all of it or nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from pydantic import Field

from homeserver.plugin_api import MediaStore, PluginContext, Section, hookimpl

_MEDIA_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_/.-]{0,199}", re.ASCII)
_READ_BYTES = 262_144
_WRITE_BYTES = 1_048_576
_UNFINISHED = "unfinished"
_ABANDONED_AFTER_S = 86_400


class DiskSettings(Section):
    """Where media are kept."""

    directory: Path | None = Field(
        default=None, description="The directory for the files; without it, one below data_directory."
    )
    fsync: bool = Field(
        default=True, description="Whether an upload is answered only when it is safely on the disk. Leave it on."
    )


class Plugin:
    """Provides the store of media."""

    Settings = DiskSettings

    def __init__(self, context: PluginContext, settings: DiskSettings) -> None:
        self._clock = context.clock
        self._store = DiskMediaStore(settings.directory or context.data_directory / "files", fsync=settings.fsync)

    @hookimpl
    def provide_media_store(self) -> MediaStore:
        return self._store

    @hookimpl
    async def on_start(self) -> None:
        await self._store.prepare(self._clock.now_ms())


class DiskMediaStore:
    """Implements `MediaStore` on files: `<directory>/ab/cd/<id>`, where `abcd` begins the hash of the id.

    No id can lead out of the directory: what names the file has no slash, and what names its folder is a hash.
    """

    def __init__(self, directory: Path, *, fsync: bool = True) -> None:
        self._directory = directory
        self._fsync = fsync

    async def prepare(self, now_ms: int) -> None:
        """Make the directory, and remove what a crash left unfinished; what is a day old is nobody's upload."""
        await asyncio.to_thread(self._prepare, now_ms / 1000 - _ABANDONED_AFTER_S)

    async def store(self, media_id: str, chunks: AsyncIterator[bytes]) -> None:
        place = self._place_of(media_id)
        unfinished = self._directory / _UNFINISHED / secrets.token_hex(16)
        file = await asyncio.to_thread(_create, unfinished)
        try:
            with file:
                await self._write(file, chunks)
            await asyncio.to_thread(self._move, unfinished, place)
        except BaseException:
            with suppress(FileNotFoundError):
                unfinished.unlink()
            raise

    async def open(self, media_id: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        if not await self.exists(media_id):
            raise KeyError(media_id)
        return self._read(self._place_of(media_id), start, end)

    async def delete(self, media_id: str) -> None:
        await asyncio.to_thread(self._place_of(media_id).unlink, missing_ok=True)

    async def exists(self, media_id: str) -> bool:
        try:
            place = self._place_of(media_id)
        except KeyError:
            return False
        return await asyncio.to_thread(place.is_file)

    def _place_of(self, media_id: str) -> Path:
        """Where an id's file is. KeyError for what is no id."""
        if _MEDIA_ID.fullmatch(media_id) is None or ".." in media_id:
            raise KeyError(media_id)
        shard = hashlib.sha256(media_id.encode()).hexdigest()
        return self._directory / shard[:2] / shard[2:4] / media_id.replace("/", "~")

    def _prepare(self, before_s: float) -> None:
        unfinished = self._directory / _UNFINISHED
        unfinished.mkdir(parents=True, exist_ok=True)
        for path in unfinished.iterdir():
            with suppress(FileNotFoundError):  # another process may be quicker
                if path.stat().st_mtime < before_s:
                    path.unlink()

    async def _write(self, file: BinaryIO, chunks: AsyncIterator[bytes]) -> None:
        """Write in large pieces: a thread is asked once for each of them, not for each chunk of the network."""
        buffer = bytearray()
        async for chunk in chunks:
            buffer += chunk
            if len(buffer) >= _WRITE_BYTES:
                await asyncio.to_thread(file.write, bytes(buffer))
                buffer.clear()
        await asyncio.to_thread(self._finish, file, bytes(buffer))

    def _finish(self, file: BinaryIO, rest: bytes) -> None:
        file.write(rest)
        file.flush()
        if self._fsync:
            os.fsync(file.fileno())

    def _move(self, unfinished: Path, place: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        unfinished.replace(place)
        if self._fsync and os.name == "posix":
            # The names are in the directories: those must be on the disk too.
            for directory in (place.parent, place.parent.parent, self._directory):
                _sync_directory(directory)

    async def _read(self, place: Path, start: int, end: int | None) -> AsyncIterator[bytes]:
        file = await asyncio.to_thread(place.open, "rb")
        with file:
            await asyncio.to_thread(file.seek, start)
            left = end - start if end is not None else None
            while left is None or left > 0:
                wanted = _READ_BYTES if left is None else min(_READ_BYTES, left)
                chunk = await asyncio.to_thread(file.read, wanted)
                if not chunk:
                    return
                if left is not None:
                    left -= len(chunk)
                yield chunk


def _create(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
