"""Registration tokens: how often each may be used, was used, and is about to be used.

A use is pending from the auth stage until the account exists or the auth session has expired.

Spec: client-server-api #token-authenticated-registration
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, or_, select, update

from homeserver.storage.tables.accounts import registration_tokens as tokens
from homeserver.storage.upsert import insert_or_ignore

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class RegistrationToken:
    """`uses_allowed` None: any number; `expires_ms` None: never."""

    token: str
    uses_allowed: int | None
    pending: int
    completed: int
    expires_ms: int | None
    created_ms: int

    def is_valid(self, now_ms: int) -> bool:
        """Whether one more account may be opened with it."""
        if self.expires_ms is not None and self.expires_ms <= now_ms:
            return False
        return self.uses_allowed is None or self.pending + self.completed < self.uses_allowed


_COLUMNS = (
    tokens.c.token,
    tokens.c.uses_allowed,
    tokens.c.pending,
    tokens.c.completed,
    tokens.c.expires_ms,
    tokens.c.created_ms,
)
_WANTED = tokens.c.token == bindparam("wanted")
_SELECT = select(*_COLUMNS).where(_WANTED)
_SELECT_ALL = select(*_COLUMNS).order_by(tokens.c.created_ms, tokens.c.token)
_INSERT = insert_or_ignore(tokens, ["token"]).returning(tokens.c.token)
_RESERVE = (
    update(tokens)
    .where(
        _WANTED,
        or_(tokens.c.expires_ms.is_(None), tokens.c.expires_ms > bindparam("now")),
        or_(tokens.c.uses_allowed.is_(None), tokens.c.pending + tokens.c.completed < tokens.c.uses_allowed),
    )
    .values(pending=tokens.c.pending + 1)
)
_RELEASE = update(tokens).where(_WANTED, tokens.c.pending > 0).values(pending=tokens.c.pending - 1)
_COMPLETE = update(tokens).where(_WANTED).values(completed=tokens.c.completed + 1)
_CHANGE = update(tokens).where(_WANTED).values(uses_allowed=bindparam("new_uses"), expires_ms=bindparam("new_expires"))
_DELETE = delete(tokens).where(_WANTED)


def find_token(connection: Connection, token: str) -> RegistrationToken | None:
    row = connection.execute(_SELECT, {"wanted": token}).first()
    return None if row is None else RegistrationToken(*row)


def load_tokens(connection: Connection) -> list[RegistrationToken]:
    """All tokens, oldest first."""
    return [RegistrationToken(*row) for row in connection.execute(_SELECT_ALL)]


def create_token(
    tx: Transaction, token: str, uses_allowed: int | None, expires_ms: int | None, created_ms: int
) -> bool:
    """Insert a token; False if there is one with this text."""
    row = RegistrationToken(token, uses_allowed, 0, 0, expires_ms, created_ms)
    values = {column.name: getattr(row, column.name) for column in _COLUMNS}
    return tx.connection.execute(_INSERT, values).first() is not None


def change_token(tx: Transaction, token: str, uses_allowed: int | None, expires_ms: int | None) -> bool:
    parameters = {"wanted": token, "new_uses": uses_allowed, "new_expires": expires_ms}
    return tx.connection.execute(_CHANGE, parameters).rowcount == 1


def delete_token(tx: Transaction, token: str) -> bool:
    return tx.connection.execute(_DELETE, {"wanted": token}).rowcount == 1


def reserve_use(tx: Transaction, token: str, now_ms: int) -> bool:
    """Count one more pending use; False if the token is not valid (any more)."""
    return tx.connection.execute(_RESERVE, {"wanted": token, "now": now_ms}).rowcount == 1


def release_use(tx: Transaction, token: str) -> None:
    """A pending use came to nothing."""
    tx.connection.execute(_RELEASE, {"wanted": token})


def complete_use(tx: Transaction, token: str) -> None:
    """A pending use opened an account."""
    release_use(tx, token)
    tx.connection.execute(_COMPLETE, {"wanted": token})
