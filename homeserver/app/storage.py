"""Opens the database that the settings name.

PostgreSQL's driver is an extra; without it the error says how to install it.
"""

from __future__ import annotations

from pathlib import Path

from homeserver.storage.database import Database
from homeserver.storage.sqlite import SqliteDatabase
from homeserver_config.settings import Settings


def build_database(settings: Settings) -> Database:
    """The database of `database.url`, not yet opened. Raises ValueError for an unknown kind."""
    url = settings.database_url
    scheme = url.partition("://")[0]
    path = find_sqlite_path(settings)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        return SqliteDatabase(
            path,
            readers=settings.database.reader_threads,
            synchronous=settings.database.synchronous.upper(),
            cache_kib=settings.database.cache_size // 1024,
        )
    if scheme == "postgresql+asyncpg":
        try:
            from homeserver.storage.postgres import PostgresDatabase
        except ImportError:
            raise ValueError("PostgreSQL needs its driver: pip install 'starling-homeserver[postgres]'.") from None
        return PostgresDatabase(url, readers=settings.database.pool_size)
    raise ValueError(f"database.url begins with {scheme}://; sqlite:// and postgresql:// are known.")


def find_sqlite_path(settings: Settings) -> Path | None:
    """The database's file; None for PostgreSQL."""
    scheme, _, rest = settings.database_url.partition("://")
    return Path(rest.removeprefix("/")) if scheme == "sqlite" else None
