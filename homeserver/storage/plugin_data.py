"""The key-value pairs of plugins, and counted uses of what runs out: rows of `plugin_data` and `plugin_uses`.

Values are JSON. An expired pair is no pair, whether or not it has been swept away yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import bindparam, delete, or_, select, update

from homeserver.storage.tables.plugin_data import plugin_data, plugin_uses
from homeserver.storage.upsert import insert_or_ignore, insert_or_update

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction

_MINE = plugin_data.c.plugin == bindparam("of_plugin")
_ONE = plugin_data.c.key == bindparam("wanted")
_ALIVE = or_(plugin_data.c.expires_ms.is_(None), plugin_data.c.expires_ms > bindparam("now"))
_SELECT = select(plugin_data.c.value).where(_MINE, _ONE, _ALIVE)
_SELECT_PREFIX = (
    select(plugin_data.c.key, plugin_data.c.value)
    .where(_MINE, _ALIVE, plugin_data.c.key.startswith(bindparam("prefix"), autoescape=False))
    .order_by(plugin_data.c.key)
)
_STORE = insert_or_update(plugin_data, ["plugin", "key"], ["value", "expires_ms"])
_STORE_NEW = insert_or_ignore(plugin_data, ["plugin", "key"]).returning(plugin_data.c.key)
_DELETE = delete(plugin_data).where(_MINE, _ONE)
_DELETE_ONE_EXPIRED = _DELETE.where(plugin_data.c.expires_ms <= bindparam("now"))
_DELETE_EXPIRED = delete(plugin_data).where(plugin_data.c.expires_ms <= bindparam("now"))

_FIRST_USE = insert_or_ignore(plugin_uses, ["plugin", "key"])
_USES = (plugin_uses.c.plugin == bindparam("of_plugin"), plugin_uses.c.key == bindparam("wanted"))
_CLAIM = update(plugin_uses).where(*_USES, plugin_uses.c.uses < bindparam("most")).values(uses=plugin_uses.c.uses + 1)
_RELEASE = update(plugin_uses).where(*_USES, plugin_uses.c.uses > 0).values(uses=plugin_uses.c.uses - 1)


def find_value(connection: Connection, plugin: str, key: str, now_ms: int) -> Any:
    """The value, or None without one."""
    value = connection.execute(_SELECT, {"of_plugin": plugin, "wanted": key, "now": now_ms}).scalar()
    return None if value is None else orjson.loads(value)


def load_values(connection: Connection, plugin: str, prefix: str, now_ms: int) -> dict[str, Any]:
    """All pairs of a plugin whose keys begin with `prefix`."""
    rows = connection.execute(_SELECT_PREFIX, {"of_plugin": plugin, "prefix": prefix, "now": now_ms})
    # LIKE takes `%` and `_` for patterns and, on SQLite, ignores case: what it lets through besides is left out here.
    return {key: orjson.loads(value) for key, value in rows if key.startswith(prefix)}


def store_value(tx: Transaction, plugin: str, key: str, value: bytes, expires_ms: int | None) -> None:
    tx.connection.execute(_STORE, {"plugin": plugin, "key": key, "value": value, "expires_ms": expires_ms})


def store_new_value(tx: Transaction, plugin: str, key: str, value: bytes, expires_ms: int | None, now_ms: int) -> bool:
    """Store a pair unless there is one with this key; whether it was stored."""
    tx.connection.execute(_DELETE_ONE_EXPIRED, {"of_plugin": plugin, "wanted": key, "now": now_ms})
    row = {"plugin": plugin, "key": key, "value": value, "expires_ms": expires_ms}
    return tx.connection.execute(_STORE_NEW, row).first() is not None


def delete_value(tx: Transaction, plugin: str, key: str) -> None:
    tx.connection.execute(_DELETE, {"of_plugin": plugin, "wanted": key})


def delete_expired(tx: Transaction, now_ms: int) -> int:
    """Retention; the number of pairs forgotten."""
    return tx.connection.execute(_DELETE_EXPIRED, {"now": now_ms}).rowcount


def claim_use(tx: Transaction, plugin: str, key: str, most: int) -> bool:
    """Count one more use; False if there have been `most` already."""
    tx.connection.execute(_FIRST_USE, {"plugin": plugin, "key": key, "uses": 0})
    return tx.connection.execute(_CLAIM, {"of_plugin": plugin, "wanted": key, "most": most}).rowcount == 1


def release_use(tx: Transaction, plugin: str, key: str) -> None:
    """A use came to nothing."""
    tx.connection.execute(_RELEASE, {"of_plugin": plugin, "wanted": key})
