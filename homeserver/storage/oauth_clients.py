"""Clients that registered themselves: rows of `oauth_clients`.

The same metadata is registered once, whoever registers it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import bindparam, delete, exists, select, update

from homeserver.storage.tables.oauth import oauth_clients as clients
from homeserver.storage.tables.oauth import oauth_codes, oauth_device_codes, oauth_grants
from homeserver.storage.upsert import insert_or_update

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class ClientRow:
    """A client and its checked metadata."""

    client_id: str
    metadata: dict[str, Any]
    created_ms: int
    used_ms: int


_SELECT = select(clients.c.client_id, clients.c.metadata, clients.c.created_ms, clients.c.used_ms).where(
    clients.c.client_id == bindparam("wanted")
)
_REGISTER = insert_or_update(clients, ["metadata_hash"], ["used_ms"]).returning(
    clients.c.client_id, clients.c.created_ms
)
_TOUCH = update(clients).where(clients.c.client_id == bindparam("wanted")).values(used_ms=bindparam("now"))
_DELETE_UNUSED = delete(clients).where(
    clients.c.used_ms < bindparam("before_ms"),
    *(
        ~exists().where(table.c.client_id == clients.c.client_id)
        for table in (oauth_grants, oauth_codes, oauth_device_codes)
    ),
)


def find_client(connection: Connection, client_id: str) -> ClientRow | None:
    row = connection.execute(_SELECT, {"wanted": client_id}).first()
    return None if row is None else ClientRow(row[0], orjson.loads(row[1]), row[2], row[3])


def register(
    tx: Transaction, new_client_id: str, metadata_hash: bytes, metadata: bytes, now_ms: int
) -> tuple[str, int]:
    """The client ID for this metadata and when it was first registered; a new client if there is none with it."""
    row = {
        "client_id": new_client_id,
        "metadata_hash": metadata_hash,
        "metadata": metadata,
        "created_ms": now_ms,
        "used_ms": now_ms,
    }
    client_id, created_ms = tx.connection.execute(_REGISTER, row).one()
    return client_id, created_ms


def touch(tx: Transaction, client_id: str, now_ms: int) -> None:
    tx.connection.execute(_TOUCH, {"wanted": client_id, "now": now_ms})


def delete_unused(tx: Transaction, before_ms: int) -> int:
    """Retention: forget clients not used since `before_ms` that hold nothing; the number forgotten."""
    return tx.connection.execute(_DELETE_UNUSED, {"before_ms": before_ms}).rowcount
