"""A name that a database gets once, for what must tell databases apart."""

from __future__ import annotations

from sqlalchemy import bindparam, select

from homeserver.storage.database import Transaction
from homeserver.storage.tables.log import server_settings
from homeserver.storage.upsert import insert_or_ignore

_NAME = "database_id"
_CREATE = insert_or_ignore(server_settings, ["name"])
_SELECT = select(server_settings.c.value).where(server_settings.c.name == bindparam("wanted"))


def get_or_create_id(tx: Transaction, new: str) -> str:
    """The database's name; `new` if it had none."""
    tx.connection.execute(_CREATE, {"name": _NAME, "value": new})
    return str(tx.connection.execute(_SELECT, {"wanted": _NAME}).scalar_one())
