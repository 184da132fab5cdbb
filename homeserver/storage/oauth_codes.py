"""What lies between a request for access and the tokens: authorization codes and device codes.

Spec: RFC 6749 #section-4.1, RFC 8628 #section-3
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, insert, select, true, update

from homeserver.storage.tables.oauth import oauth_codes as codes
from homeserver.storage.tables.oauth import oauth_device_codes as device_codes
from homeserver.storage.upsert import insert_or_ignore

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction

PENDING, APPROVED, DENIED = "pending", "approved", "denied"


@dataclass(frozen=True, slots=True)
class AuthorizationCode:
    """What a user has granted, until the client fetches its tokens. `used`: it has done so before."""

    client_id: str
    user_id: str
    redirect_uri: str
    scope: str
    code_challenge: str
    used: bool
    expires_ms: int


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What a client without a browser asks for, and what a user says to it (`verdict`)."""

    device_code_hash: bytes
    client_id: str
    scope: str
    verdict: str
    user_id: str | None
    interval_ms: int
    polled_ms: int | None
    expires_ms: int


_CODE_COLUMNS = (
    codes.c.client_id,
    codes.c.user_id,
    codes.c.redirect_uri,
    codes.c.scope,
    codes.c.code_challenge,
    codes.c.used,
    codes.c.expires_ms,
)
_INSERT_CODE = insert(codes)
_LOCK_CODE = select(*_CODE_COLUMNS).where(codes.c.code_hash == bindparam("wanted")).with_for_update()
_USE_CODE = update(codes).where(codes.c.code_hash == bindparam("wanted")).values(used=true())

_DEVICE_COLUMNS = (
    device_codes.c.device_code_hash,
    device_codes.c.client_id,
    device_codes.c.scope,
    device_codes.c.verdict,
    device_codes.c.user_id,
    device_codes.c.interval_ms,
    device_codes.c.polled_ms,
    device_codes.c.expires_ms,
)
_INSERT_DEVICE_CODE = insert_or_ignore(device_codes, ["user_code_hash"]).returning(device_codes.c.device_code_hash)
_SELECT_BY_USER_CODE = select(*_DEVICE_COLUMNS).where(device_codes.c.user_code_hash == bindparam("wanted"))
_LOCK_DEVICE_CODE = (
    select(*_DEVICE_COLUMNS).where(device_codes.c.device_code_hash == bindparam("wanted")).with_for_update()
)
_POLLED = (
    update(device_codes)
    .where(device_codes.c.device_code_hash == bindparam("wanted"))
    .values(polled_ms=bindparam("now"), interval_ms=bindparam("new_interval"))
)
_JUDGE = (
    update(device_codes)
    .where(
        device_codes.c.user_code_hash == bindparam("wanted"),
        device_codes.c.verdict == PENDING,
        device_codes.c.expires_ms > bindparam("now"),
    )
    .values(verdict=bindparam("new_verdict"), user_id=bindparam("by_user"))
)
_DELETE_DEVICE_CODE = delete(device_codes).where(device_codes.c.device_code_hash == bindparam("wanted"))
_DELETE_FOR_USER = tuple(
    delete(table).where(table.c.user_id == bindparam("of_user")) for table in (codes, device_codes)
)
_DELETE_EXPIRED = tuple(
    delete(table).where(table.c.expires_ms <= bindparam("before_ms")) for table in (codes, device_codes)
)


def create_code(tx: Transaction, code_hash: bytes, code: AuthorizationCode) -> None:
    values = {column.name: getattr(code, column.name) for column in _CODE_COLUMNS}
    tx.connection.execute(_INSERT_CODE, {"code_hash": code_hash, **values})


def use_code(tx: Transaction, code_hash: bytes) -> AuthorizationCode | None:
    """The code as it was, used up from now on; None if there is none."""
    row = tx.connection.execute(_LOCK_CODE, {"wanted": code_hash}).first()
    if row is None:
        return None
    tx.connection.execute(_USE_CODE, {"wanted": code_hash})
    return AuthorizationCode(*row)


def create_device_code(tx: Transaction, user_code_hash: bytes, code: DeviceCode) -> bool:
    """False if another request has this user code."""
    values = {column.name: getattr(code, column.name) for column in _DEVICE_COLUMNS}
    return tx.connection.execute(_INSERT_DEVICE_CODE, {"user_code_hash": user_code_hash, **values}).first() is not None


def find_by_user_code(connection: Connection, user_code_hash: bytes) -> DeviceCode | None:
    row = connection.execute(_SELECT_BY_USER_CODE, {"wanted": user_code_hash}).first()
    return None if row is None else DeviceCode(*row)


def judge(tx: Transaction, user_code_hash: bytes, verdict: str, user_id: str, now_ms: int) -> bool:
    """Note what the user says; False if nobody waits for it (any more)."""
    parameters = {"wanted": user_code_hash, "new_verdict": verdict, "by_user": user_id, "now": now_ms}
    return tx.connection.execute(_JUDGE, parameters).rowcount == 1


def poll(
    tx: Transaction, device_code_hash: bytes, client_id: str, now_ms: int, slower_by_ms: int
) -> tuple[DeviceCode | None, bool]:
    """The code as it was, and whether its client asks too often. A code that has its verdict is used up by this."""
    row = tx.connection.execute(_LOCK_DEVICE_CODE, {"wanted": device_code_hash}).first()
    if row is None:
        return None, False
    code = DeviceCode(*row)
    if code.client_id != client_id:
        return None, False
    if code.verdict != PENDING and code.expires_ms > now_ms:
        tx.connection.execute(_DELETE_DEVICE_CODE, {"wanted": device_code_hash})
        return code, False
    too_soon = code.polled_ms is not None and now_ms - code.polled_ms < code.interval_ms
    interval_ms = code.interval_ms + (slower_by_ms if too_soon else 0)
    tx.connection.execute(_POLLED, {"wanted": device_code_hash, "now": now_ms, "new_interval": interval_ms})
    return code, too_soon


def delete_for_user(tx: Transaction, user_id: str) -> None:
    for statement in _DELETE_FOR_USER:
        tx.connection.execute(statement, {"of_user": user_id})


def delete_expired(tx: Transaction, before_ms: int) -> int:
    """Retention: forget what had expired by `before_ms`; the number forgotten."""
    return sum(tx.connection.execute(statement, {"before_ms": before_ms}).rowcount for statement in _DELETE_EXPIRED)
