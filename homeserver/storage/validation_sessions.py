"""Sessions that confirm an e-mail address or telephone number: rows of `validation_sessions`.

Secrets, links and codes are kept as hashes only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import bindparam, delete, select, update

from homeserver.storage.tables.third_party_ids import validation_sessions as sessions
from homeserver.storage.upsert import insert_or_update

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction


class ValidationSession(NamedTuple):
    """One session. `purpose` is "register", "password" or "add"; a session serves no other."""

    session_id: str
    purpose: str
    medium: str
    address: str
    secret_hash: str
    link_hash: str
    code_hash: str
    send_attempt: int
    next_link: str | None
    wrong_guesses: int
    expires_ms: int
    validated_ms: int | None


_COLUMNS = tuple(sessions.c[name] for name in ValidationSession._fields)
_THIS = sessions.c.session_id == bindparam("wanted")
_SELECT = select(*_COLUMNS).where(_THIS)
_SELECT_SAME = select(*_COLUMNS).where(
    sessions.c.purpose == bindparam("of_purpose"),
    sessions.c.medium == bindparam("of_medium"),
    sessions.c.address == bindparam("of_address"),
    sessions.c.secret_hash == bindparam("of_secret"),
)
_STORE = insert_or_update(
    sessions,
    ["purpose", "medium", "address", "secret_hash"],
    [
        "session_id",
        "link_hash",
        "code_hash",
        "send_attempt",
        "next_link",
        "wrong_guesses",
        "expires_ms",
        "validated_ms",
    ],
)
_NOTE_GUESS = update(sessions).where(_THIS).values(wrong_guesses=sessions.c.wrong_guesses + 1)
_VALIDATE = (
    update(sessions)
    .where(_THIS, sessions.c.validated_ms.is_(None))
    .values(validated_ms=bindparam("now"), expires_ms=bindparam("until"))
)
_DELETE = delete(sessions).where(_THIS)
_DELETE_EXPIRED = delete(sessions).where(sessions.c.expires_ms < bindparam("before"))


def find_session(connection: Connection, session_id: str) -> ValidationSession | None:
    row = connection.execute(_SELECT, {"wanted": session_id}).first()
    return None if row is None else ValidationSession(*row)


def find_same(
    connection: Connection, purpose: str, medium: str, address: str, secret_hash: str
) -> ValidationSession | None:
    """The session that the same client has begun for the same address and purpose."""
    parameters = {"of_purpose": purpose, "of_medium": medium, "of_address": address, "of_secret": secret_hash}
    row = connection.execute(_SELECT_SAME, parameters).first()
    return None if row is None else ValidationSession(*row)


def store_session(tx: Transaction, session: ValidationSession) -> None:
    """Insert a session, or take the place of the same client's for the same address and purpose."""
    tx.connection.execute(_STORE, session._asdict())


def note_wrong_guess(tx: Transaction, session_id: str) -> None:
    tx.connection.execute(_NOTE_GUESS, {"wanted": session_id})


def validate_session(tx: Transaction, session_id: str, now_ms: int, until_ms: int) -> None:
    """The address is confirmed; the session serves its purpose until `until_ms`. Nothing happens the second time."""
    tx.connection.execute(_VALIDATE, {"wanted": session_id, "now": now_ms, "until": until_ms})


def take_session(tx: Transaction, session_id: str) -> bool:
    """Use a session up; False if it was used already."""
    return tx.connection.execute(_DELETE, {"wanted": session_id}).rowcount == 1


def delete_expired(tx: Transaction, before_ms: int) -> None:
    """Retention."""
    tx.connection.execute(_DELETE_EXPIRED, {"before": before_ms})
