"""A bot on matrix-bot-sdk, the library of most bots in JavaScript."""

from __future__ import annotations

import asyncio

from interop.node import install_packages, run_script
from server_process import ServerProcess


async def test_a_bot(shared_server: ServerProcess) -> None:
    await asyncio.to_thread(install_packages)
    await run_script("bot", shared_server.url, seconds=60)
