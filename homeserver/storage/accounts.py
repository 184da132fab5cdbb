"""The accounts of this server: rows of `users`.

Every change of an account's standing is one function; whoever calls it makes the token cache forget the account.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Boolean, bindparam, false, func, or_, select, true, update

from homeserver.storage.tables.accounts import users
from homeserver.storage.tables.sessions import devices
from homeserver.storage.upsert import insert_or_ignore

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class User:
    """One account. `kind` is "user", "guest", "bot" or "support"; no `password_hash` means no password login."""

    user_id: str
    kind: str
    created_ms: int
    admin: bool = False
    password_hash: str | None = None
    appservice_id: str | None = None
    consent_version: str | None = None
    deactivated: bool = False
    erased: bool = False
    locked: bool = False
    suspended: bool = False
    rate_limit_exempt: bool = False

    @property
    def is_guest(self) -> bool:
        return self.kind == "guest"


_COLUMNS = (
    users.c.user_id,
    users.c.kind,
    users.c.created_ms,
    users.c.admin,
    users.c.password_hash,
    users.c.appservice_id,
    users.c.consent_version,
    users.c.deactivated,
    users.c.erased,
    users.c.locked,
    users.c.suspended,
    users.c.rate_limit_exempt,
)
_WANTED = users.c.user_id == bindparam("wanted")
_SELECT = select(*_COLUMNS).where(_WANTED)
_SELECT_PAGE = (
    select(*_COLUMNS).where(users.c.user_id > bindparam("after")).order_by(users.c.user_id).limit(bindparam("most"))
)
_COUNT = select(func.count()).select_from(users).where(users.c.kind == bindparam("kind"), ~users.c.deactivated)
_SELECT_LEAVING = select(users.c.user_id).where(users.c.leaving_rooms)
_SELECT_IDLE_GUESTS = (
    select(users.c.user_id)
    .select_from(users.outerjoin(devices, devices.c.user_id == users.c.user_id))
    .where(users.c.kind == "guest", ~users.c.deactivated, users.c.created_ms < bindparam("before_ms"))
    .group_by(users.c.user_id)
    .having(func.coalesce(func.max(devices.c.last_seen_ms), 0) < bindparam("before_ms"))
    .limit(bindparam("most"))
)
_INSERT = insert_or_ignore(users, ["user_id"]).returning(users.c.user_id)
_SET_PASSWORD = update(users).where(_WANTED).values(password_hash=bindparam("new_hash"))
_REPLACE_PASSWORD = (
    update(users)
    .where(_WANTED, users.c.password_hash == bindparam("old_hash"))
    .values(password_hash=bindparam("new_hash"))
)
_UPGRADE_GUEST = (
    update(users)
    .where(_WANTED, users.c.kind == "guest", ~users.c.deactivated)
    .values(kind="user", password_hash=bindparam("new_hash"))
)
_DEACTIVATE = (
    update(users)
    .where(_WANTED, ~users.c.deactivated)
    .values(
        deactivated=true(),
        password_hash=None,
        admin=false(),
        leaving_rooms=true(),
        erased=or_(users.c.erased, bindparam("erase", type_=Boolean)),
    )
)
_DEPARTED = update(users).where(_WANTED).values(leaving_rooms=false())
_REACTIVATE = (
    update(users)
    .where(_WANTED, users.c.deactivated)
    .values(deactivated=false(), erased=false(), leaving_rooms=false(), password_hash=bindparam("new_hash"))
)
_SET = {
    name: update(users).where(_WANTED).values({name: bindparam("new_value")})
    for name in ("admin", "kind", "locked", "suspended", "rate_limit_exempt", "consent_version")
}


def find_user(connection: Connection, user_id: str) -> User | None:
    """The account with exactly this user ID, deactivated ones included."""
    row = connection.execute(_SELECT, {"wanted": user_id}).first()
    return None if row is None else User(*row)


def load_users(connection: Connection, after: str, most: int) -> list[User]:
    """At most `most` accounts whose user IDs sort after `after`, in that order."""
    return [User(*row) for row in connection.execute(_SELECT_PAGE, {"after": after, "most": most})]


def count_users(connection: Connection, kind: str = "user") -> int:
    """How many accounts of this kind are not deactivated."""
    return int(connection.execute(_COUNT, {"kind": kind}).scalar_one())


def load_leaving(connection: Connection) -> list[str]:
    """Deactivated users who have yet to leave some of their rooms."""
    return [user_id for (user_id,) in connection.execute(_SELECT_LEAVING)]


def load_idle_guests(connection: Connection, before_ms: int, most: int) -> list[str]:
    """Guests created before `before_ms` who were not seen since."""
    return [user_id for (user_id,) in connection.execute(_SELECT_IDLE_GUESTS, {"before_ms": before_ms, "most": most})]


def create_user(tx: Transaction, user: User) -> bool:
    """Insert the account; False if its user ID is taken."""
    row = {column.name: getattr(user, column.name) for column in _COLUMNS}
    return tx.connection.execute(_INSERT, row).first() is not None


def set_password_hash(tx: Transaction, user_id: str, password_hash: str | None) -> None:
    tx.connection.execute(_SET_PASSWORD, {"wanted": user_id, "new_hash": password_hash})


def replace_password_hash(tx: Transaction, user_id: str, old_hash: str, new_hash: str) -> None:
    """Store a newer hash of the same password, unless the password was changed meanwhile."""
    tx.connection.execute(_REPLACE_PASSWORD, {"wanted": user_id, "old_hash": old_hash, "new_hash": new_hash})


def upgrade_guest(tx: Transaction, user_id: str, password_hash: str | None) -> bool:
    """Make a guest an ordinary user; False if there is no such guest."""
    return tx.connection.execute(_UPGRADE_GUEST, {"wanted": user_id, "new_hash": password_hash}).rowcount == 1


def deactivate(tx: Transaction, user_id: str, erase: bool) -> bool:
    """Close the account and note that its rooms are to be left; False if it was closed already."""
    return tx.connection.execute(_DEACTIVATE, {"wanted": user_id, "erase": erase}).rowcount == 1


def reactivate(tx: Transaction, user_id: str, password_hash: str | None) -> bool:
    """Open a closed account again; False if it is not closed."""
    return tx.connection.execute(_REACTIVATE, {"wanted": user_id, "new_hash": password_hash}).rowcount == 1


def finish_departure(tx: Transaction, user_id: str) -> None:
    """All rooms of a deactivated user are left."""
    tx.connection.execute(_DEPARTED, {"wanted": user_id})


def set_admin(tx: Transaction, user_id: str, admin: bool) -> bool:
    return _set(tx, user_id, "admin", admin)


def set_kind(tx: Transaction, user_id: str, kind: str) -> bool:
    return _set(tx, user_id, "kind", kind)


def set_locked(tx: Transaction, user_id: str, locked: bool) -> bool:
    return _set(tx, user_id, "locked", locked)


def set_suspended(tx: Transaction, user_id: str, suspended: bool) -> bool:
    return _set(tx, user_id, "suspended", suspended)


def set_rate_limit_exempt(tx: Transaction, user_id: str, exempt: bool) -> bool:
    return _set(tx, user_id, "rate_limit_exempt", exempt)


def set_consent_version(tx: Transaction, user_id: str, version: str) -> bool:
    return _set(tx, user_id, "consent_version", version)


def _set(tx: Transaction, user_id: str, name: str, value: bool | str) -> bool:
    return tx.connection.execute(_SET[name], {"wanted": user_id, "new_value": value}).rowcount == 1
