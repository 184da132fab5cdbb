"""Copies all media from one store to another, some files at a time; what is there already is passed over.

Stores show whole files or none, so a copy that was broken off is begun again, and one that is there is good.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from homeserver.protocol.errors import MatrixError
from homeserver.storage.media_inventory import StoredFile, load_amount, load_files

if TYPE_CHECKING:
    from homeserver.plugin_api.media import MediaStore
    from homeserver.storage.database import Database

_PAGE = 500
_MOST_FAULTS = 1_000

Progress = Callable[[int, int], None]
"""Told again and again: how many files there are, and how many have been dealt with."""


@dataclass
class MigrationReport:
    """What became of the files. `failed`: ids with the reason, the first thousand of them."""

    copied: int = 0
    copied_bytes: int = 0
    there_already: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)

    @property
    def done(self) -> int:
        return self.copied + self.there_already + len(self.failed)


class DamagedFile(Exception):
    """The bytes are not those that were uploaded."""


class MediaMigration:
    """One run from `source` to `target`. Neither store may be changed by others in between, but for new files."""

    def __init__(self, database: Database, source: MediaStore, target: MediaStore, at_once: int) -> None:
        self._database = database
        self._source = source
        self._target = target
        self._at_once = at_once
        self._report = MigrationReport()

    async def run(self, progress: Progress) -> MigrationReport:
        """Copy everything. Ends early, with the reasons, after a thousand files that could not be copied."""
        total, _ = await self._database.read(load_amount)
        after = ""
        while page := await self._database.read(load_files, after, _PAGE):
            after = page[-1].store_id
            await self._copy_all(page, lambda: progress(total, self._report.done))
            if len(self._report.failed) >= _MOST_FAULTS:
                break
        return self._report

    async def _copy_all(self, files: list[StoredFile], progress: Callable[[], None]) -> None:
        waiting = iter(files)

        async def work() -> None:
            for file in waiting:
                await self._take(file)
                progress()

        async with asyncio.TaskGroup() as group:
            for _ in range(self._at_once):
                group.create_task(work())

    async def _take(self, file: StoredFile) -> None:
        try:
            if await self._target.exists(file.store_id):
                self._report.there_already += 1
                return
            chunks = await self._source.open(file.store_id)
            await self._target.store(file.store_id, _checked(chunks, file))
        except KeyError:
            self._report.failed.append((file.store_id, "it is not in the store it should be in"))
        except (MatrixError, DamagedFile, OSError) as error:
            self._report.failed.append((file.store_id, str(error) or type(error).__name__))
        else:
            self._report.copied += 1
            self._report.copied_bytes += file.size


async def _checked(chunks: AsyncIterator[bytes], file: StoredFile) -> AsyncIterator[bytes]:
    """The chunks; DamagedFile before the last is through if they are not what was uploaded."""
    size, digest = 0, hashlib.sha256()
    async for chunk in chunks:
        size += len(chunk)
        digest.update(chunk)
        yield chunk
    if size != file.size or (file.sha256 is not None and digest.digest() != file.sha256):
        raise DamagedFile("its bytes are not those that were uploaded")
