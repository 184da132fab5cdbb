"""Short-lived tokens that log in once: rows of `login_tokens`.

Taking a token deletes it, so that of two logins with the same token one fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, insert

from homeserver.storage.tables.sessions import login_tokens

if TYPE_CHECKING:
    from homeserver.storage.database import Transaction

_INSERT = insert(login_tokens)
_TAKE = (
    delete(login_tokens)
    .where(login_tokens.c.token_hash == bindparam("wanted"))
    .returning(login_tokens.c.user_id, login_tokens.c.expires_ms)
)
_DELETE_OF_USER = delete(login_tokens).where(login_tokens.c.user_id == bindparam("of_user"))
_DELETE_EXPIRED = delete(login_tokens).where(login_tokens.c.expires_ms <= bindparam("now"))


def create_login_token(tx: Transaction, token_hash: bytes, user_id: str, expires_ms: int) -> None:
    tx.connection.execute(_INSERT, {"token_hash": token_hash, "user_id": user_id, "expires_ms": expires_ms})


def take_login_token(tx: Transaction, token_hash: bytes, now_ms: int) -> str | None:
    """Use up a token: whose it was, or None if there is none or it has expired."""
    row = tx.connection.execute(_TAKE, {"wanted": token_hash}).first()
    return None if row is None or row.expires_ms <= now_ms else str(row.user_id)


def delete_for_user(tx: Transaction, user_id: str) -> None:
    tx.connection.execute(_DELETE_OF_USER, {"of_user": user_id})


def delete_expired(tx: Transaction, now_ms: int) -> int:
    """Retention; the number of tokens forgotten."""
    return tx.connection.execute(_DELETE_EXPIRED, {"now": now_ms}).rowcount
