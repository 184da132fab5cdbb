"""Leases: rows that belong to one process until a time by the database's own clock.

There are as many rows as there are things to share out; nothing has to be deleted.
"""

from __future__ import annotations

import time

from sqlalchemy import Connection, bindparam, delete, or_, select, text, update

from homeserver.storage.database import Transaction
from homeserver.storage.tables.leases import leases
from homeserver.storage.upsert import insert_or_ignore

_CREATE = insert_or_ignore(leases, ["name"])
_TAKE = (
    update(leases)
    .where(
        leases.c.name == bindparam("lease"),
        or_(leases.c.holder == bindparam("me"), leases.c.until_ms < bindparam("now")),
    )
    .values(holder=bindparam("me"), until_ms=bindparam("until"))
)
_RENEW = update(leases).where(leases.c.holder == bindparam("me")).values(until_ms=bindparam("until"))
_OF_HOLDER = select(leases.c.name).where(leases.c.holder == bindparam("me"))
_RELEASE = delete(leases).where(leases.c.holder == bindparam("me"))
_DATABASE_TIME = text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)")


def take_lease(tx: Transaction, name: str, holder: str, lifetime_ms: int) -> bool:
    """Take a lease that is free, has run out or is ours already; False if another process has it."""
    now_ms = _now_ms(tx.connection)
    tx.connection.execute(_CREATE, {"name": name, "holder": holder, "until_ms": now_ms + lifetime_ms})
    values = {"lease": name, "me": holder, "now": now_ms, "until": now_ms + lifetime_ms}
    return tx.connection.execute(_TAKE, values).rowcount == 1


def renew_leases(tx: Transaction, holder: str, lifetime_ms: int) -> set[str]:
    """Prolong what a process holds; which leases that is."""
    tx.connection.execute(_RENEW, {"me": holder, "until": _now_ms(tx.connection) + lifetime_ms})
    return set(tx.connection.execute(_OF_HOLDER, {"me": holder}).scalars())


def release_leases(tx: Transaction, holder: str) -> None:
    """Give back what a process holds."""
    tx.connection.execute(_RELEASE, {"me": holder})


def _now_ms(connection: Connection) -> int:
    """By the clock that all processes share."""
    if connection.dialect.name == "postgresql":
        return int(connection.execute(_DATABASE_TIME).scalar_one())
    return time.time_ns() // 1_000_000
