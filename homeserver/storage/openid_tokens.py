"""Tokens for other services: rows of `openid_tokens`, good until they expire.

Writing one clears away those that have expired.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, insert, select

from homeserver.storage.tables.openid import openid_tokens

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction

_INSERT = insert(openid_tokens)
_FIND = select(openid_tokens.c.user_id).where(
    openid_tokens.c.token_hash == bindparam("wanted"), openid_tokens.c.expires_ms > bindparam("now")
)
_DELETE_EXPIRED = delete(openid_tokens).where(openid_tokens.c.expires_ms <= bindparam("now"))


def create_openid_token(tx: Transaction, token_hash: bytes, user_id: str, expires_ms: int, now_ms: int) -> None:
    """Keep a token, and forget those that have expired."""
    tx.connection.execute(_DELETE_EXPIRED, {"now": now_ms})
    tx.connection.execute(_INSERT, {"token_hash": token_hash, "user_id": user_id, "expires_ms": expires_ms})


def find_openid_user(connection: Connection, token_hash: bytes, now_ms: int) -> str | None:
    """Whose token it is; None if there is none or it has expired."""
    return connection.execute(_FIND, {"wanted": token_hash, "now": now_ms}).scalar()
