"""Sessions of User-Interactive Authentication: what is to be authorised, and the stages completed so far.

They are rows, so that any process may answer the next request of the exchange.

Spec: client-server-api #user-interactive-authentication-api
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import bindparam, delete, insert, select, update

from homeserver.storage.tables.sessions import ui_auth_sessions as sessions

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class UiAuthSession:
    """`body` is the request to be authorised, without secrets; `completed` maps stage types to their findings."""

    session_id: str
    operation: str
    user_id: str | None
    body: dict[str, Any]
    completed: dict[str, Any]
    expires_ms: int


_COLUMNS = (
    sessions.c.session_id,
    sessions.c.operation,
    sessions.c.user_id,
    sessions.c.body,
    sessions.c.completed,
    sessions.c.expires_ms,
)
_WANTED = sessions.c.session_id == bindparam("wanted")
_SELECT = select(*_COLUMNS).where(_WANTED)
_LOCK_COMPLETED = select(sessions.c.completed).where(_WANTED).with_for_update()
_INSERT = insert(sessions)
_SET_BODY = update(sessions).where(_WANTED).values(body=bindparam("new_body"))
_SET_COMPLETED = update(sessions).where(_WANTED).values(completed=bindparam("new_completed"))
_TAKE = delete(sessions).where(_WANTED).returning(sessions.c.completed)
_TAKE_EXPIRED = delete(sessions).where(sessions.c.expires_ms <= bindparam("now")).returning(sessions.c.completed)


def find_session(connection: Connection, session_id: str) -> UiAuthSession | None:
    row = connection.execute(_SELECT, {"wanted": session_id}).first()
    if row is None:
        return None
    found_id, operation, user_id, body, completed, expires_ms = row
    return UiAuthSession(found_id, operation, user_id, orjson.loads(body), orjson.loads(completed), expires_ms)


def create_session(tx: Transaction, session: UiAuthSession) -> None:
    row = {
        "session_id": session.session_id,
        "operation": session.operation,
        "user_id": session.user_id,
        "body": orjson.dumps(session.body),
        "completed": orjson.dumps(session.completed),
        "expires_ms": session.expires_ms,
    }
    tx.connection.execute(_INSERT, row)


def set_body(tx: Transaction, session_id: str, body: dict[str, Any]) -> None:
    tx.connection.execute(_SET_BODY, {"wanted": session_id, "new_body": orjson.dumps(body)})


def lock_completed(tx: Transaction, session_id: str) -> dict[str, Any] | None:
    """The completed stages, which nobody else changes before this transaction ends; None if the session is gone."""
    row = tx.connection.execute(_LOCK_COMPLETED, {"wanted": session_id}).first()
    return None if row is None else dict(orjson.loads(row[0]))


def set_completed(tx: Transaction, session_id: str, completed: dict[str, Any]) -> None:
    tx.connection.execute(_SET_COMPLETED, {"wanted": session_id, "new_completed": orjson.dumps(completed)})


def take_session(tx: Transaction, session_id: str) -> dict[str, Any] | None:
    """Use up a session: its completed stages, or None if somebody else was faster."""
    row = tx.connection.execute(_TAKE, {"wanted": session_id}).first()
    return None if row is None else dict(orjson.loads(row[0]))


def take_expired(tx: Transaction, now_ms: int) -> list[dict[str, Any]]:
    """Retention: delete expired sessions; the completed stages of each, for stages that reserved something."""
    return [orjson.loads(row[0]) for row in tx.connection.execute(_TAKE_EXPIRED, {"now": now_ms})]
