"""Programs that run beside a test, ended with it; their output is shown when something goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

PATIENCE_S = 30.0


@asynccontextmanager
async def running_program(command: Sequence[str], log: Path) -> AsyncIterator[subprocess.Popen[bytes]]:
    """A program that writes to `log`. A test that fails shows what it wrote."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd=log.parent)
    try:
        yield process
    except BaseException as error:
        error.add_note(f"--- {log.name}:\n{log.read_text(errors='replace')[-6000:]}")
        raise
    finally:
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, 10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def until(found: Callable[[], Awaitable[Any]], seconds: float = PATIENCE_S) -> Any:
    """What `found` finds, as soon as it finds something."""
    async with asyncio.timeout(seconds):
        while True:
            result = await found()
            if result:
                return result
            await asyncio.sleep(0.1)


async def until_listening(port: int, seconds: float = PATIENCE_S) -> None:
    """Wait until somebody listens on a loopback port."""

    async def knock() -> bool:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return True
        return False

    await until(knock, seconds)
