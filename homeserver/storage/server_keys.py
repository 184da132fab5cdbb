"""Keeps the signing keys of other servers.

A key is never forgotten: old events carry its signatures for ever. What is known of it only gets newer.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import bindparam, select

from homeserver.storage.events import batched_list
from homeserver.storage.tables.server_keys import server_keys
from homeserver.storage.upsert import insert_or_update

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction


class ServerKey(NamedTuple):
    """A key as its owner published it. `expired_ms` is None for a key in use; `answer` is the signed JSON object."""

    server_name: str
    key_id: str
    public_key: str
    valid_until_ms: int
    expired_ms: int | None
    fetched_ms: int
    answer: bytes


_keys = server_keys
_SELECT = select(
    _keys.c.server_name,
    _keys.c.key_id,
    _keys.c.public_key,
    _keys.c.valid_until_ms,
    _keys.c.expired_ms,
    _keys.c.fetched_ms,
    _keys.c.answer,
).where(_keys.c.server_name.in_(bindparam("servers", expanding=True)))
_STORE = insert_or_update(
    _keys,
    ["server_name", "key_id"],
    ["public_key", "valid_until_ms", "expired_ms", "fetched_ms", "answer"],
)


def load_server_keys(connection: Connection, server_names: Collection[str]) -> dict[str, dict[str, ServerKey]]:
    """All that is known of servers' keys, by server and key ID."""
    found: dict[str, dict[str, ServerKey]] = {}
    for some in batched_list(server_names):
        for row in connection.execute(_SELECT, {"servers": some}):
            key = ServerKey(*row)
            found.setdefault(key.server_name, {})[key.key_id] = key._replace(answer=bytes(key.answer))
    return found


def store_server_keys(tx: Transaction, keys: Sequence[ServerKey]) -> None:
    """Keep keys, over what was known of the same keys before."""
    if keys:
        tx.connection.execute(_STORE, [key._asdict() for key in keys])
