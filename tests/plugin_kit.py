"""A homeserver with plugins from its settings, and servers on loopback for them to talk to.

Nothing is replaced: requests go through the real ASGI application.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from server_kit import Server, running_server

from homeserver.runtime.clock import Clock
from homeserver.storage.database import Database


@asynccontextmanager
async def server_with(
    folder: Path,
    *plugins: Any,
    clock: Clock | None = None,
    database: Database | None = None,
    **sections: Any,
) -> AsyncIterator[Server]:
    """A running server with these entries of the list `plugins`; it may talk to loopback."""
    sections = {
        "outgoing": {"ip_ranges_allowed": ["127.0.0.0/8"]},
        "passwords": {"argon2_memory": 8192, "argon2_iterations": 1},
        **sections,
    }
    async with running_server(folder, database, clock=clock, plugins=list(plugins), **sections) as server:
        yield server


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def loopback(handlers: dict[tuple[str, str], Handler]) -> AsyncIterator[str]:
    """An HTTP server on loopback; its base URL."""
    app = web.Application()
    for (method, path), handler in handlers.items():
        app.router.add_route(method, path, handler)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
