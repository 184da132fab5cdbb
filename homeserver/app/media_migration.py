"""Builds what copies media between the stores of two plugins, beside a running server or without one."""

from __future__ import annotations

from homeserver.app.homeserver import Homeserver
from homeserver.plugin_api.implementations import PluginError
from homeserver.services.media.migration import MediaMigration, MigrationReport, Progress
from homeserver_config.settings import Settings


async def migrate(settings: Settings, source: str, target: str, at_once: int, progress: Progress) -> MigrationReport:
    """Copy everything between the stores of two plugins that the settings list. Raises PluginError."""
    server = Homeserver(settings)
    hooks = server.plugins.hooks
    stores = [hooks.media_store(source), hooks.media_store(target)]
    await server.database.open()
    started: list[str] = []
    try:
        for plugin in (source, target):
            await hooks.on_start(plugin)
            started.append(plugin)
        first, second = stores
        if first is None or second is None:
            raise PluginError("both plugins must provide a media store")
        return await MediaMigration(server.database, first, second, at_once).run(progress)
    finally:
        for plugin in reversed(started):
            await hooks.on_stop(plugin)
        await server.database.close()
        server.accounts.passwords.close()
