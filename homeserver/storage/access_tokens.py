"""Access tokens and the chains of refresh tokens that renew them.

A refresh token stays good until the pair it was exchanged for is used: a client that lost the answer may ask again.

Spec: client-server-api #refreshing-access-tokens
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import BindParameter, Text, bindparam, delete, exists, insert, or_, select, true, update

from homeserver.storage.tables.accounts import users
from homeserver.storage.tables.sessions import access_tokens, refresh_tokens

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class Session:
    """An access token's row with the standing of its account."""

    token_nid: int
    user_id: str
    device_id: str | None
    expires_ms: int | None
    refresh_nid: int | None
    used: bool
    kind: str
    admin: bool
    deactivated: bool
    locked: bool
    suspended: bool
    rate_limit_exempt: bool


@dataclass(frozen=True, slots=True)
class TokenPair:
    """Hashes of the tokens to hand out; no `refresh_hash` for clients that do not refresh."""

    access_hash: bytes
    access_expires_ms: int | None
    refresh_hash: bytes | None = None
    refresh_expires_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Rotation:
    """What became of a refresh: whose it was, or why not ("unknown", "replaced", "expired")."""

    user_id: str = ""
    device_id: str = ""
    refused: str | None = None


_SESSION_COLUMNS = (
    access_tokens.c.token_nid,
    access_tokens.c.user_id,
    access_tokens.c.device_id,
    access_tokens.c.expires_ms,
    access_tokens.c.refresh_nid,
    access_tokens.c.used,
    users.c.kind,
    users.c.admin,
    users.c.deactivated,
    users.c.locked,
    users.c.suspended,
    users.c.rate_limit_exempt,
)
_SELECT_SESSION = (
    select(*_SESSION_COLUMNS)
    .select_from(access_tokens.join(users, users.c.user_id == access_tokens.c.user_id))
    .where(access_tokens.c.token_hash == bindparam("wanted"))
)
_INSERT_ACCESS = insert(access_tokens).returning(access_tokens.c.token_nid)
_INSERT_REFRESH = insert(refresh_tokens).returning(refresh_tokens.c.refresh_nid)
_LOCK_REFRESH = (
    select(
        refresh_tokens.c.refresh_nid,
        refresh_tokens.c.user_id,
        refresh_tokens.c.device_id,
        refresh_tokens.c.expires_ms,
        refresh_tokens.c.next_nid,
        refresh_tokens.c.replaced_ms,
    )
    .where(refresh_tokens.c.token_hash == bindparam("wanted"))
    .with_for_update()
)
_SELECT_REFRESH_OWNER = select(refresh_tokens.c.user_id, refresh_tokens.c.device_id).where(
    refresh_tokens.c.token_hash == bindparam("wanted")
)
_SET_NEXT = (
    update(refresh_tokens)
    .where(refresh_tokens.c.refresh_nid == bindparam("nid"))
    .values(next_nid=bindparam("new_next"))
)
_MARK_USED = (
    update(access_tokens)
    .where(access_tokens.c.token_nid == bindparam("nid"))
    .values(used=true())
    .returning(access_tokens.c.refresh_nid)
)
_SELECT_PREDECESSORS = select(refresh_tokens.c.refresh_nid).where(
    refresh_tokens.c.next_nid == bindparam("nid"), refresh_tokens.c.replaced_ms.is_(None)
)
_RETIRE_REFRESH = (
    update(refresh_tokens)
    .where(refresh_tokens.c.refresh_nid.in_(bindparam("nids", expanding=True)))
    .values(replaced_ms=bindparam("now"))
)
_RETIRE_ACCESS = (
    update(access_tokens)
    .where(access_tokens.c.refresh_nid.in_(bindparam("nids", expanding=True)), access_tokens.c.replaced_ms.is_(None))
    .values(replaced_ms=bindparam("now"), expires_ms=bindparam("now"))
)
_DELETE_REFRESH = delete(refresh_tokens).where(refresh_tokens.c.refresh_nid == bindparam("nid"))
_DELETE_ACCESS_OF_REFRESH = delete(access_tokens).where(access_tokens.c.refresh_nid == bindparam("nid"))
_DELETE_TOKEN = delete(access_tokens).where(access_tokens.c.token_nid == bindparam("nid"))
_OF_USER: BindParameter[str] = bindparam("of_user", type_=Text)
_KEEP: BindParameter[str] = bindparam("keep", type_=Text)
_DELETE_FOR_DEVICES = tuple(
    delete(table).where(table.c.user_id == _OF_USER, table.c.device_id.in_(bindparam("devices", expanding=True)))
    for table in (access_tokens, refresh_tokens)
)
_DELETE_FOR_USER = tuple(delete(table).where(table.c.user_id == _OF_USER) for table in (access_tokens, refresh_tokens))
_DELETE_FOR_USER_BUT = tuple(
    delete(table).where(table.c.user_id == _OF_USER, or_(table.c.device_id != _KEEP, table.c.device_id.is_(None)))
    for table in (access_tokens, refresh_tokens)
)
_DELETE_REPLACED = tuple(
    delete(table).where(table.c.replaced_ms < bindparam("before_ms")) for table in (access_tokens, refresh_tokens)
)
_DELETE_ORPHANS = delete(access_tokens).where(
    access_tokens.c.expires_ms < bindparam("before_ms"),
    access_tokens.c.device_id.is_(None),
    ~exists().where(refresh_tokens.c.refresh_nid == access_tokens.c.refresh_nid),
)


def find_session(connection: Connection, token_hash: bytes) -> Session | None:
    """The access token with this hash, expired ones included: their owners are only softly logged out."""
    row = connection.execute(_SELECT_SESSION, {"wanted": token_hash}).first()
    return None if row is None else Session(*tuple(row))


def find_refresh_owner(connection: Connection, refresh_hash: bytes) -> tuple[str, str] | None:
    """(user ID, device ID) of a refresh token, used-up and expired ones included."""
    row = connection.execute(_SELECT_REFRESH_OWNER, {"wanted": refresh_hash}).first()
    return None if row is None else (row.user_id, row.device_id)


def create_tokens(tx: Transaction, user_id: str, device_id: str | None, pair: TokenPair, now_ms: int) -> int:
    """Store an access token, and its refresh token if there is one; the access token's row number."""
    refresh_nid = None
    if pair.refresh_hash is not None:
        refresh_nid = _create_refresh(tx, user_id, device_id, pair, now_ms)
    row = {
        "token_hash": pair.access_hash,
        "user_id": user_id,
        "device_id": device_id,
        "created_ms": now_ms,
        "expires_ms": pair.access_expires_ms,
        "refresh_nid": refresh_nid,
    }
    return int(tx.connection.execute(_INSERT_ACCESS, row).scalar_one())


def rotate(tx: Transaction, refresh_hash: bytes, pair: TokenPair, now_ms: int) -> Rotation:
    """Exchange a refresh token for a new pair. A pair it was exchanged for before, and never used, is forgotten."""
    row = tx.connection.execute(_LOCK_REFRESH, {"wanted": refresh_hash}).first()
    if row is None:
        return Rotation(refused="unknown")
    nid, user_id, device_id, expires_ms, next_nid, replaced_ms = row
    if replaced_ms is not None:
        return Rotation(refused="replaced")
    if expires_ms is not None and expires_ms <= now_ms:
        return Rotation(refused="expired")
    if next_nid is not None:
        tx.connection.execute(_DELETE_REFRESH, {"nid": next_nid})
        tx.connection.execute(_DELETE_ACCESS_OF_REFRESH, {"nid": next_nid})
    _retire_predecessors(tx, nid, now_ms)
    new_nid = _create_refresh(tx, user_id, device_id, pair, now_ms)
    tx.connection.execute(_SET_NEXT, {"nid": nid, "new_next": new_nid})
    access = {
        "token_hash": pair.access_hash,
        "user_id": user_id,
        "device_id": device_id,
        "created_ms": now_ms,
        "expires_ms": pair.access_expires_ms,
        "refresh_nid": new_nid,
    }
    tx.connection.execute(_INSERT_ACCESS, access)
    return Rotation(user_id, device_id)


def mark_used(tx: Transaction, token_nid: int, now_ms: int) -> None:
    """Note the first use of an access token, which ends the pair it replaced."""
    row = tx.connection.execute(_MARK_USED, {"nid": token_nid}).first()
    if row is not None and row[0] is not None:
        _retire_predecessors(tx, row[0], now_ms)


def delete_token(tx: Transaction, token_nid: int) -> None:
    tx.connection.execute(_DELETE_TOKEN, {"nid": token_nid})


def delete_for_devices(tx: Transaction, user_id: str, device_ids: Sequence[str]) -> None:
    """End all tokens of these devices."""
    if not device_ids:
        return
    for statement in _DELETE_FOR_DEVICES:
        tx.connection.execute(statement, {"of_user": user_id, "devices": list(device_ids)})


def delete_for_user(tx: Transaction, user_id: str, *, keep: str | None = None) -> None:
    """End all tokens of a user, except those of device `keep`."""
    if keep is None:
        for statement in _DELETE_FOR_USER:
            tx.connection.execute(statement, {"of_user": user_id})
        return
    for statement in _DELETE_FOR_USER_BUT:
        tx.connection.execute(statement, {"of_user": user_id, "keep": keep})


def delete_old(tx: Transaction, before_ms: int) -> int:
    """Forget tokens replaced, and device-less ones expired, before `before_ms`. Retention; the number forgotten.

    An expired token of a living device stays: its client must hear of a soft logout, not of a logout.
    """
    forgotten = tx.connection.execute(_DELETE_ORPHANS, {"before_ms": before_ms}).rowcount
    return forgotten + sum(
        tx.connection.execute(statement, {"before_ms": before_ms}).rowcount for statement in _DELETE_REPLACED
    )


def _create_refresh(tx: Transaction, user_id: str, device_id: str | None, pair: TokenPair, now_ms: int) -> int:
    row = {
        "token_hash": pair.refresh_hash,
        "user_id": user_id,
        "device_id": device_id,
        "created_ms": now_ms,
        "expires_ms": pair.refresh_expires_ms,
    }
    return int(tx.connection.execute(_INSERT_REFRESH, row).scalar_one())


def _retire_predecessors(tx: Transaction, refresh_nid: int, now_ms: int) -> None:
    nids = [nid for (nid,) in tx.connection.execute(_SELECT_PREDECESSORS, {"nid": refresh_nid})]
    if nids:
        tx.connection.execute(_RETIRE_REFRESH, {"nids": nids, "now": now_ms})
        tx.connection.execute(_RETIRE_ACCESS, {"nids": nids, "now": now_ms})
