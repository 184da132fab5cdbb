"""An ASGI application factory for servers of one's own choice: `homeserver.app:create_app`.

The settings come from the file that HOMESERVER_CONFIG names, or from homeserver.yaml in the current folder.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from homeserver.app.config_file import find_config
from homeserver.app.homeserver import Homeserver
from homeserver.runtime.log_setup import set_up_logging
from homeserver.web.app import WebApp
from homeserver_config.reader import read_settings
from homeserver_config.settings import Settings


def create_app(settings: Settings | None = None) -> WebApp:
    """The application of the first listener, starting and stopping with the ASGI lifespan."""
    if settings is None:
        settings = read_settings(find_config(os.environ.get("HOMESERVER_CONFIG")), dict(os.environ))
        set_up_logging(settings.logging)
    server = Homeserver(settings)

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        await server.start()
        try:
            yield
        finally:
            await server.stop()

    return server.asgi(settings.listeners[0], lifespan=lifespan)
