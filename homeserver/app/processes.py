"""Runs several processes of a homeserver side by side: starts them, starts again what ends, stops all together.

SIGHUP replaces them one after another, each new one serving before an old one stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass

import structlog

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_STEADY_AFTER_S = 60.0
_READY_WITHIN_S = 120.0
_log = structlog.get_logger("homeserver.processes")


@dataclass(slots=True, eq=False)
class _Child:
    number: int
    process: asyncio.subprocess.Process
    replaced: bool = False


class Processes:
    """`number` processes that run `homeserver run` with the same settings file."""

    def __init__(self, number: int, config: str | None, stop_within_s: float) -> None:
        self._number = number
        self._config = config
        self._stop_within_s = stop_within_s
        self._children: dict[int, _Child] = {}
        self._stopping = asyncio.Event()
        self._replacing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Return once all have ended, after SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._replace_all)
        keepers = [asyncio.create_task(self._keep(number)) for number in range(self._number)]
        await self._stopping.wait()
        if self._replacing is not None:
            self._replacing.cancel()
        await asyncio.gather(*(self._end(child) for child in list(self._children.values())))
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)

    async def _keep(self, number: int) -> None:
        """Keep one process running."""
        pause_s = _FIRST_PAUSE_S
        loop = asyncio.get_running_loop()
        child = await self._start(number)
        while True:
            started = loop.time()
            code = await child.process.wait()
            if self._stopping.is_set():
                return
            if child.replaced:
                child = self._children[number]
                continue
            if loop.time() - started > _STEADY_AFTER_S:
                pause_s = _FIRST_PAUSE_S
            _log.error("a process ended; starting another", number=number, code=code, in_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            child = await self._start(number)

    async def _start(self, number: int) -> _Child:
        """Start a process and wait until it serves, or ends."""
        ready, tell = os.pipe()
        command = [sys.executable, "-m", "homeserver", "run", "--member", str(number), "--ready-fd", str(tell)]
        if self._config is not None:
            command += ["--config", self._config]
        process = await asyncio.create_subprocess_exec(*command, pass_fds=[tell])
        os.close(tell)
        child = _Child(number, process)
        self._children[number] = child
        await _until_ready(ready)
        return child

    def _replace_all(self) -> None:
        if self._replacing is None or self._replacing.done():
            self._replacing = asyncio.create_task(self._replace_in_turn())

    async def _replace_in_turn(self) -> None:
        for number in range(self._number):
            old = self._children.get(number)
            if old is None:
                continue
            old.replaced = True
            new = await self._start(number)
            if new.process.returncode is not None:
                _log.error("the new process did not start; the old ones go on", number=number)
                old.replaced = False
                self._children[number] = old
                return
            await self._end(old)
        _log.info("all processes replaced", number=self._number)

    async def _end(self, child: _Child) -> None:
        with contextlib.suppress(ProcessLookupError):
            child.process.terminate()
        try:
            async with asyncio.timeout(self._stop_within_s):
                await child.process.wait()
        except TimeoutError:
            _log.error("a process does not stop; ending it", number=child.number)
            with contextlib.suppress(ProcessLookupError):
                child.process.kill()
            await child.process.wait()


async def _until_ready(pipe: int) -> None:
    """Wait until the other end of a pipe is written to or closed."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(pipe, ready.set)
    try:
        async with asyncio.timeout(_READY_WITHIN_S):
            await ready.wait()
    except TimeoutError:
        _log.warning("a process takes long to start")
    finally:
        loop.remove_reader(pipe)
        os.close(pipe)
