"""E-mail that waits for the mail server: rows of `outgoing_mail`.

A row that is being sent is claimed until a time; should the process die, somebody sends it after that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from sqlalchemy import bindparam, delete, func, select, update

from homeserver.storage.tables.third_party_ids import outgoing_mail as mail

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction


class WaitingMail(NamedTuple):
    """One message. After `expires_ms` it is not worth sending; `attempts` counts those that failed."""

    nid: int
    content: dict[str, Any]
    created_ms: int
    expires_ms: int
    attempts: int


_COUNT = select(func.count()).select_from(mail)
_INSERT = mail.insert()
_SELECT_DUE = (
    select(mail.c.mail_nid, mail.c.mail, mail.c.created_ms, mail.c.expires_ms, mail.c.attempts)
    .where(mail.c.due_ms <= bindparam("now"))
    .order_by(mail.c.due_ms, mail.c.mail_nid)
    .limit(bindparam("most"))
)
# Asked again as the row is locked: of two processes that have seen it due, one gets it.
_CLAIM = (
    update(mail)
    .where(mail.c.mail_nid.in_(bindparam("nids", expanding=True)), mail.c.due_ms <= bindparam("now"))
    .values(due_ms=bindparam("until"))
    .returning(mail.c.mail_nid)
)
_NEXT_DUE = select(func.min(mail.c.due_ms))
_POSTPONE = (
    update(mail)
    .where(mail.c.mail_nid == bindparam("wanted"))
    .values(attempts=bindparam("failed"), due_ms=bindparam("until"))
)
_DELETE = delete(mail).where(mail.c.mail_nid.in_(bindparam("nids", expanding=True)))


def queue_mail(tx: Transaction, content: dict[str, Any], now_ms: int, expires_ms: int, most: int) -> bool:
    """Have a message sent; False if `most` are waiting already."""
    if count_waiting(tx.connection) >= most:
        return False
    row = {"mail": orjson.dumps(content), "created_ms": now_ms, "expires_ms": expires_ms, "attempts": 0}
    tx.connection.execute(_INSERT, {**row, "due_ms": now_ms})
    return True


def count_waiting(connection: Connection) -> int:
    return int(connection.execute(_COUNT).scalar_one())


def claim_due(tx: Transaction, now_ms: int, until_ms: int, most: int) -> list[WaitingMail]:
    """The oldest messages that are due, put out of others' reach until `until_ms`."""
    found = [
        WaitingMail(nid, orjson.loads(raw), created_ms, expires_ms, attempts)
        for nid, raw, created_ms, expires_ms, attempts in tx.connection.execute(
            _SELECT_DUE, {"now": now_ms, "most": most}
        )
    ]
    if not found:
        return []
    parameters = {"nids": [one.nid for one in found], "now": now_ms, "until": until_ms}
    claimed = set(tx.connection.execute(_CLAIM, parameters).scalars())
    return [one for one in found if one.nid in claimed]


def find_next_due(connection: Connection) -> int | None:
    """When the next message is due, None if none waits."""
    due_ms: int | None = connection.execute(_NEXT_DUE).scalar()
    return due_ms


def postpone(tx: Transaction, nid: int, attempts: int, due_ms: int) -> None:
    tx.connection.execute(_POSTPONE, {"wanted": nid, "failed": attempts, "until": due_ms})


def delete_mail(tx: Transaction, nids: list[int]) -> None:
    """Messages were sent, or are given up."""
    if nids:
        tx.connection.execute(_DELETE, {"nids": nids})
