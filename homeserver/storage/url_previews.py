"""Previews of web pages: rows of `url_previews`, found by the hash of the page's address.

They are a cache: old ones go, and the oldest go when there are too many.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, select

from homeserver.storage.tables.media import url_previews
from homeserver.storage.upsert import insert_or_update

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction

_SELECT = select(url_previews.c.body).where(
    url_previews.c.url_sha256 == bindparam("hash"), url_previews.c.fetched_ms >= bindparam("since_ms")
)
_STORE = insert_or_update(url_previews, ["url_sha256"], ["body", "fetched_ms"])
_OLDEST_KEPT = (
    select(url_previews.c.fetched_ms).order_by(url_previews.c.fetched_ms.desc()).offset(bindparam("most")).limit(1)
)
_DELETE_OLD = delete(url_previews).where(url_previews.c.fetched_ms <= bindparam("before_ms"))


def find_preview(connection: Connection, url: str, since_ms: int) -> bytes | None:
    """The preview (a JSON object) of a page, if it was fetched since a time."""
    row = connection.execute(_SELECT, {"hash": _hash_of(url), "since_ms": since_ms}).first()
    return None if row is None else bytes(row[0])


def store_preview(tx: Transaction, url: str, body: bytes, fetched_ms: int, most: int) -> None:
    """Keep a preview; beyond `most` of them the oldest go."""
    tx.connection.execute(_STORE, {"url_sha256": _hash_of(url), "body": body, "fetched_ms": fetched_ms})
    row = tx.connection.execute(_OLDEST_KEPT, {"most": most}).first()
    if row is not None:
        tx.connection.execute(_DELETE_OLD, {"before_ms": row[0]})


def delete_old_previews(tx: Transaction, before_ms: int) -> None:
    """Forget previews fetched up to a time."""
    tx.connection.execute(_DELETE_OLD, {"before_ms": before_ms})


def _hash_of(url: str) -> bytes:
    return hashlib.sha256(url.encode()).digest()
