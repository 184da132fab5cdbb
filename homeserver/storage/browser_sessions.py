"""Who is logged in to the server's own pages, and what they have approved there.

Spec: client-server-api #oauth-20-account-management
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, insert, select

from homeserver.storage import oauth_codes
from homeserver.storage.tables.oauth import oauth_approvals as approvals
from homeserver.storage.tables.oauth import oauth_browser_sessions as sessions
from homeserver.storage.upsert import insert_or_update

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """A browser whose user showed at `proved_ms` who they are."""

    user_id: str
    proved_ms: int
    expires_ms: int


_SELECT = select(sessions.c.user_id, sessions.c.proved_ms, sessions.c.expires_ms).where(
    sessions.c.session_hash == bindparam("wanted")
)
_INSERT = insert(sessions)
_DELETE = delete(sessions).where(sessions.c.session_hash == bindparam("wanted"))
_APPROVE = insert_or_update(approvals, ["user_id", "action"], ["expires_ms"])
_ONE_APPROVAL = (approvals.c.user_id == bindparam("of_user"), approvals.c.action == bindparam("wanted"))
_SELECT_APPROVAL = select(approvals.c.expires_ms).where(*_ONE_APPROVAL)
_DELETE_APPROVAL = delete(approvals).where(*_ONE_APPROVAL)
_DELETE_FOR_USER = tuple(
    delete(table).where(table.c.user_id == bindparam("of_user")) for table in (sessions, approvals)
)
_DELETE_EXPIRED = tuple(delete(table).where(table.c.expires_ms <= bindparam("now")) for table in (sessions, approvals))


def find_session(connection: Connection, session_hash: bytes) -> BrowserSession | None:
    """Expired ones included."""
    row = connection.execute(_SELECT, {"wanted": session_hash}).first()
    return None if row is None else BrowserSession(*row)


def create_session(tx: Transaction, session_hash: bytes, session: BrowserSession) -> None:
    row = {
        "session_hash": session_hash,
        "user_id": session.user_id,
        "proved_ms": session.proved_ms,
        "expires_ms": session.expires_ms,
    }
    tx.connection.execute(_INSERT, row)


def delete_session(tx: Transaction, session_hash: bytes) -> None:
    tx.connection.execute(_DELETE, {"wanted": session_hash})


def approve(tx: Transaction, user_id: str, action: str, expires_ms: int) -> None:
    """Note that the user wants this done until `expires_ms`."""
    tx.connection.execute(_APPROVE, {"user_id": user_id, "action": action, "expires_ms": expires_ms})


def is_approved(connection: Connection, user_id: str, action: str, now_ms: int) -> bool:
    expires_ms = connection.execute(_SELECT_APPROVAL, {"of_user": user_id, "wanted": action}).scalar()
    return expires_ms is not None and expires_ms > now_ms


def use_approval(tx: Transaction, user_id: str, action: str) -> None:
    tx.connection.execute(_DELETE_APPROVAL, {"of_user": user_id, "wanted": action})


def delete_for_user(tx: Transaction, user_id: str) -> None:
    """Log a user out of all browsers, and take back what they were about to grant."""
    for statement in _DELETE_FOR_USER:
        tx.connection.execute(statement, {"of_user": user_id})
    oauth_codes.delete_for_user(tx, user_id)


def delete_expired(tx: Transaction, now_ms: int) -> int:
    """Retention; the number forgotten."""
    return sum(tx.connection.execute(statement, {"now": now_ms}).rowcount for statement in _DELETE_EXPIRED)
