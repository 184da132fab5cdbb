"""Brings a database to the schema this code expects, by running the migrations it has not seen yet.

A database written by newer code is refused rather than guessed at.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import inspect, text

if TYPE_CHECKING:
    from sqlalchemy import Connection

_MIGRATIONS = Path(__file__).parent / "migrations"
_VERSION = text("SELECT version_num FROM alembic_version")


class SchemaTooNew(Exception):
    """The database was last used by a newer version of this server."""

    def __init__(self, revision: str) -> None:
        super().__init__(
            f"The database has schema {revision}, which this version does not know. "
            "Install the version that last used it, or restore a backup made before the upgrade."
        )


def prepare_schema(connection: Connection) -> None:
    """Run all outstanding migrations inside the caller's transaction. Raises `SchemaTooNew`."""
    if _is_up_to_date(connection):
        return
    # Alembic takes ten megabytes, which a server without a migration to run need not spend.
    from alembic.migration import MigrationContext
    from alembic.operations import Operations
    from alembic.script import ScriptDirectory

    context = MigrationContext.configure(connection, opts={"transactional_ddl": False})
    scripts = ScriptDirectory(str(_MIGRATIONS))
    context._ensure_version_table()  # noqa: SLF001 - Alembic offers it through its command line only
    current = context.get_current_revision()
    steps = list(scripts.walk_revisions())[::-1]
    known = [step.revision for step in steps]
    if current is not None and current not in known:
        raise SchemaTooNew(current)
    outstanding = steps if current is None else steps[known.index(current) + 1 :]
    if not outstanding:
        return
    with Operations.context(context):
        for step in outstanding:
            module: Any = step.module
            module.upgrade()
    context.stamp(scripts, "head")


def _is_up_to_date(connection: Connection) -> bool:
    if not inspect(connection).has_table("alembic_version"):
        return False
    newest = max(path.name.partition("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*_*.py"))
    return connection.execute(_VERSION).scalar() == newest
