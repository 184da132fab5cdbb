"""Copies what cannot be replaced – database, signing key, media – into a folder, and back into a new server.

Works beside a running server. The database goes first: a file without a row is harmless, a row without its file is not.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

from homeserver.app.homeserver import Homeserver
from homeserver.app.storage import find_sqlite_path
from homeserver.plugin_api.media import MediaStore
from homeserver.services.media.migration import MediaMigration, MigrationReport
from homeserver_config.settings import Settings
from homeserver_plugins.media_disk import DiskMediaStore

_DATABASE, _KEY, _MEDIA = "homeserver.db", "signing.key", "media"
_AT_ONCE = 4


class BackupError(Exception):
    """It cannot be done, and why."""


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What was copied. `has_database` is False where PostgreSQL's own tools are needed."""

    has_database: bool
    media: MigrationReport


async def back_up(settings: Settings, folder: Path) -> BackupReport:
    """Copy everything into a folder, which may hold an older copy. Raises BackupError, PluginError."""
    path, key = find_sqlite_path(settings), settings.signing_key_path
    if not key.exists():
        raise BackupError(f"There is no signing key at {key}: has this server ever run with these settings?")
    if path is not None and not path.exists():
        raise BackupError(f"There is no database at {path}: has this server ever run with these settings?")
    await asyncio.to_thread(folder.mkdir, 0o700, parents=True, exist_ok=True)
    if path is not None:
        await asyncio.to_thread(_copy_database, path, folder / _DATABASE)
    _write_secret(folder / _KEY, key.read_bytes())
    media = await _with_media(settings, folder, lambda store, copies: (store, copies))
    return BackupReport(path is not None, media)


async def put_back(settings: Settings, folder: Path) -> BackupReport:
    """Put a copy where the settings want it. Raises BackupError, also where something would be overwritten."""
    path, key, saved_key = find_sqlite_path(settings), settings.signing_key_path, folder / _KEY
    if not saved_key.exists():
        raise BackupError(f"{folder} holds no back-up: {_KEY} is missing.")
    if key.exists() and key.read_bytes() != saved_key.read_bytes():
        raise BackupError(f"There is another signing key at {key}. Move it away first.")
    if path is not None:
        if path.exists():
            raise BackupError(f"There is a database at {path}. Move it away first.")
        if not (folder / _DATABASE).exists():
            raise BackupError(f"{folder} holds no {_DATABASE}.")
        path.parent.mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(_copy_database, folder / _DATABASE, path)
    if not key.exists():
        key.parent.mkdir(parents=True, exist_ok=True)
        _write_secret(key, saved_key.read_bytes())
    media = await _with_media(settings, folder, lambda store, copies: (copies, store))
    return BackupReport(path is not None, media)


Direction = Callable[[MediaStore, MediaStore], tuple[MediaStore, MediaStore]]


async def _with_media(settings: Settings, folder: Path, direction: Direction) -> MigrationReport:
    """Copy media between the server's store and the folder; `direction` tells source and target."""
    server = Homeserver(settings)
    copies = DiskMediaStore(folder / _MEDIA)
    await copies.prepare(server.clock.now_ms())
    await server.database.open()
    try:
        async with _media_store(server) as store:
            if store is None:
                return MigrationReport()
            source, target = direction(store, copies)
            return await MediaMigration(server.database, source, target, _AT_ONCE).run(lambda total, done: None)
    finally:
        await server.database.close()
        server.accounts.passwords.close()


@asynccontextmanager
async def _media_store(server: Homeserver) -> AsyncIterator[MediaStore | None]:
    """The store of media, its plugin being started meanwhile; no other plugin is."""
    hooks, named = server.plugins.hooks, server.settings.media.store
    able = [name for name, one in server.plugins.plugins.instances.items() if hasattr(one, "provide_media_store")]
    plugin = named or next(iter(able), None)
    store = hooks.media_store(plugin) if plugin is not None else None
    if plugin is None or store is None:
        yield None
        return
    await hooks.on_start(plugin)
    try:
        yield store
    finally:
        await hooks.on_stop(plugin)


def _copy_database(source: Path, target: Path) -> None:
    """A consistent copy of an SQLite database in use, checked before it takes its name."""
    unfinished = target.with_name(target.name + ".unfinished")
    unfinished.unlink(missing_ok=True)
    _write_secret(unfinished, b"")
    try:
        with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(unfinished)) as new:
            old.backup(new)
            found = new.execute("PRAGMA quick_check").fetchone()[0]
    except sqlite3.DatabaseError as error:
        unfinished.unlink()
        raise BackupError(f"{source} cannot be copied: {error}") from error
    if found != "ok":
        unfinished.unlink()
        raise BackupError(f"{source} is damaged: {found}")
    unfinished.replace(target)


def _write_secret(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
