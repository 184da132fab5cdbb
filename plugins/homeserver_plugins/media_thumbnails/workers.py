"""The worker processes from outside: started when needed, given one picture at a time, killed when they take too long.

A request is a line of JSON; the answer is a line of JSON and then the bytes it announces.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from homeserver.plugin_api import NotAnImage, Thumbnail, ThumbnailSize

_PROGRAM = Path(__file__).with_name("worker.py")
_PICTURES_PER_WORKER = 500
_ENVIRONMENT = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "TEMP")
_LONGEST_LINE = 65_536


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What one picture may cost: pixels, memory of the process, seconds of processor and of waiting."""

    max_pixels: int = 100_000_000
    memory_bytes: int = 1_073_741_824
    cpu_s: float = 20.0
    timeout_s: float = 40.0


class PillowThumbnailer:
    """Implements `Thumbnailer`. `close` ends the processes."""

    def __init__(self, limits: WorkerLimits | None = None, *, workers: int = 1) -> None:
        self._limits = limits or WorkerLimits()
        self._free = asyncio.Semaphore(workers)
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()

    @property
    def process_ids(self) -> list[int]:
        """The workers running now."""
        return sorted(worker.process_id for worker in self._all)

    async def thumbnail(self, source: Path, content_type: str, sizes: Sequence[ThumbnailSize]) -> list[Thumbnail]:
        request = {
            "path": str(source),
            "sizes": [[size.width, size.height, size.method, size.animated] for size in sizes],
        }
        async with self._worker() as worker:
            try:
                async with asyncio.timeout(self._limits.timeout_s):
                    pictures = await worker.ask(request)
            except TimeoutError:
                raise NotAnImage("it takes too long") from None
            except (asyncio.IncompleteReadError, ConnectionError, ValueError):
                raise NotAnImage("it cannot be read") from None
        return [Thumbnail(size, kind, data) for size, (kind, data) in zip(sizes, pictures, strict=True)]

    async def close(self) -> None:
        """End all workers."""
        self._idle.clear()
        for worker in list(self._all):
            await self._end(worker)

    @asynccontextmanager
    async def _worker(self) -> AsyncIterator[_Worker]:
        async with self._free:
            worker = self._idle.pop() if self._idle else await self._start()
            try:
                yield worker
            finally:
                if worker.is_fresh:
                    self._idle.append(worker)
                else:
                    await self._end(worker)

    async def _start(self) -> _Worker:
        limits = self._limits
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # the folder of the program is no place to import from
            str(_PROGRAM),
            str(limits.max_pixels),
            str(limits.memory_bytes),
            str(limits.cpu_s),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            limit=_LONGEST_LINE,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        )
        worker = _Worker(process)
        self._all.add(worker)
        return worker

    async def _end(self, worker: _Worker) -> None:
        self._all.discard(worker)
        await worker.kill()


class _Worker:
    """One process. `is_fresh` while the last question was answered in full and it has not done its share."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._asked = 0
        self._answered = 0

    @property
    def process_id(self) -> int:
        return self._process.pid

    @property
    def is_fresh(self) -> bool:
        return self._asked == self._answered < _PICTURES_PER_WORKER and self._process.returncode is None

    async def ask(self, request: Mapping[str, object]) -> list[tuple[str, bytes]]:
        """Content type and bytes of each thumbnail. NotAnImage, or the errors of a broken pipe."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._asked += 1
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        await self._process.stdin.drain()
        answer = json.loads(await self._process.stdout.readuntil(b"\n"))
        pictures = [
            (kind, await self._process.stdout.readexactly(length)) for kind, length in answer.get("thumbnails", ())
        ]
        self._answered += 1
        if "error" in answer:
            raise NotAnImage(answer["error"])
        return pictures

    async def kill(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._process.returncode is None:
            with suppress(ProcessLookupError):  # it may have ended by itself
                self._process.kill()
        await self._process.communicate()
