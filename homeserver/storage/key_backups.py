"""Backups of room keys: their versions, and the keys in them, of which the better one always stays.

Spec: client-server-api #server-side-key-backups
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from sqlalchemy import bindparam, delete, func, insert, select, update

from homeserver.storage.events import batched_list
from homeserver.storage.tables.accounts import users
from homeserver.storage.tables.key_backups import key_backup_sessions, key_backups
from homeserver.storage.upsert import insert_or_update

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction

T = TypeVar("T")


class Backup(NamedTuple):
    """One version of a user's backup. `auth_data` is JSON; `etag` counts the changes of its keys."""

    version: int
    algorithm: str
    auth_data: bytes
    etag: int
    key_count: int


class BackedUpKey(NamedTuple):
    """A room key; `session_data` is JSON."""

    room_id: str
    session_id: str
    first_message_index: int
    forwarded_count: int
    is_verified: bool
    session_data: bytes

    def is_better_than(self, other: tuple[bool, int, int]) -> bool:
        """`other` is `rank` of the key that is there."""
        return self.rank < other

    @property
    def rank(self) -> tuple[bool, int, int]:
        """Lower is better: verified first, then the lower index, then forwarded less often."""
        return (not self.is_verified, self.first_message_index, self.forwarded_count)


_sessions = key_backup_sessions
_COLUMNS = (
    key_backups.c.version,
    key_backups.c.algorithm,
    key_backups.c.auth_data,
    key_backups.c.etag,
    key_backups.c.key_count,
)
_OF_USER = key_backups.c.user_id == bindparam("of_user")
_THIS = (_OF_USER, key_backups.c.version == bindparam("of_version"))
_ONE = select(*_COLUMNS).where(*_THIS, ~key_backups.c.deleted)
_LOCK_ONE = _ONE.with_for_update()
_CURRENT = select(*_COLUMNS).where(_OF_USER, ~key_backups.c.deleted).order_by(key_backups.c.version.desc()).limit(1)
_NEWEST = select(func.max(key_backups.c.version)).where(_OF_USER)
_LOCK_USER = select(users.c.user_id).where(users.c.user_id == bindparam("of_user")).with_for_update()
_INSERT = insert(key_backups)
_DELETE_MARKS = delete(key_backups).where(_OF_USER, key_backups.c.deleted)
_MARK_DELETED = (
    update(key_backups)
    .where(*_THIS)
    .values(deleted=True, auth_data=b"{}", key_count=0)
    .returning(key_backups.c.version)
)
_SET_AUTH_DATA = update(key_backups).where(*_THIS).values(auth_data=bindparam("new_auth_data"))
_SET_STATE = update(key_backups).where(*_THIS).values(etag=bindparam("new_etag"), key_count=bindparam("new_count"))
_IN_BACKUP = (_sessions.c.user_id == bindparam("of_user"), _sessions.c.version == bindparam("of_version"))
_IN_ROOM = (*_IN_BACKUP, _sessions.c.room_id == bindparam("of_room"))
_KEYS = select(
    _sessions.c.room_id,
    _sessions.c.session_id,
    _sessions.c.first_message_index,
    _sessions.c.forwarded_count,
    _sessions.c.is_verified,
    _sessions.c.session_data,
)
_SELECT_KEYS = (
    _KEYS.where(*_IN_BACKUP),
    _KEYS.where(*_IN_ROOM),
    _KEYS.where(*_IN_ROOM, _sessions.c.session_id == bindparam("of_session")),
)
_DELETE_KEYS = (
    delete(_sessions).where(*_IN_BACKUP),
    delete(_sessions).where(*_IN_ROOM),
    delete(_sessions).where(*_IN_ROOM, _sessions.c.session_id == bindparam("of_session")),
)
_RANKS = select(
    _sessions.c.session_id, _sessions.c.is_verified, _sessions.c.first_message_index, _sessions.c.forwarded_count
).where(*_IN_ROOM, _sessions.c.session_id.in_(bindparam("sessions", expanding=True)))
_STORE_KEYS = insert_or_update(
    _sessions,
    ["user_id", "version", "room_id", "session_id"],
    ["first_message_index", "forwarded_count", "is_verified", "session_data"],
)
_DELETE_USER = (
    delete(key_backups).where(_OF_USER),
    delete(_sessions).where(_sessions.c.user_id == bindparam("of_user")),
)


def find_backup(connection: Connection, user_id: str, version: int) -> Backup | None:
    """A version that has not been deleted."""
    row = connection.execute(_ONE, {"of_user": user_id, "of_version": version}).first()
    return None if row is None else Backup(*row)


def find_current_backup(connection: Connection, user_id: str) -> Backup | None:
    """The newest version, the only one that takes new keys."""
    row = connection.execute(_CURRENT, {"of_user": user_id}).first()
    return None if row is None else Backup(*row)


def load_newest_version(connection: Connection, user_id: str) -> int:
    """The highest version a user was ever given, whether it is still there or not; 0 for none."""
    return connection.execute(_NEWEST, {"of_user": user_id}).scalar() or 0


def create_backup(tx: Transaction, user_id: str, algorithm: str, auth_data: bytes) -> int:
    """A new, empty version; its number."""
    tx.connection.execute(_LOCK_USER, {"of_user": user_id})
    version = load_newest_version(tx.connection, user_id) + 1
    tx.connection.execute(_DELETE_MARKS, {"of_user": user_id})
    row = {"user_id": user_id, "version": version, "algorithm": algorithm, "auth_data": auth_data}
    tx.connection.execute(_INSERT, {**row, "etag": 0, "key_count": 0, "deleted": False})
    return version


def lock_backup(tx: Transaction, user_id: str, version: int) -> Backup | None:
    """A version, which nobody else changes before this transaction ends."""
    row = tx.connection.execute(_LOCK_ONE, {"of_user": user_id, "of_version": version}).first()
    return None if row is None else Backup(*row)


def set_auth_data(tx: Transaction, user_id: str, version: int, auth_data: bytes) -> None:
    values = {"of_user": user_id, "of_version": version, "new_auth_data": auth_data}
    tx.connection.execute(_SET_AUTH_DATA, values)


def delete_backup(tx: Transaction, user_id: str, version: int) -> None:
    """Delete a version with all keys in it. Its number stays taken."""
    values = {"of_user": user_id, "of_version": version}
    if tx.connection.execute(_MARK_DELETED, values).first() is not None:
        tx.connection.execute(_DELETE_KEYS[0], values)


def store_keys(tx: Transaction, user_id: str, backup: Backup, keys: Sequence[BackedUpKey]) -> Backup:
    """Add keys to a locked version, each unless a better one is there; the version as it is now."""
    present = _load_ranks(tx.connection, user_id, backup.version, keys)
    rows = []
    added = 0
    for key in keys:
        rank = present.get((key.room_id, key.session_id))
        if rank is None:
            added += 1
        elif not key.is_better_than(rank):
            continue
        rows.append({"user_id": user_id, "version": backup.version, **key._asdict()})
    if not rows:
        return backup
    tx.connection.execute(_STORE_KEYS, rows)
    return _note_change(tx, user_id, backup, backup.key_count + added)


def load_keys(
    connection: Connection, user_id: str, version: int, room_id: str | None = None, session_id: str | None = None
) -> list[BackedUpKey]:
    """The keys of a version, of one room in it, or of one session."""
    statement, values = _at_level(_SELECT_KEYS, user_id, version, room_id, session_id)
    return [BackedUpKey(*row) for row in connection.execute(statement, values)]


def delete_keys(
    tx: Transaction, user_id: str, backup: Backup, room_id: str | None = None, session_id: str | None = None
) -> Backup:
    """Delete the keys of a locked version, of one room in it, or of one session; the version as it is now."""
    statement, values = _at_level(_DELETE_KEYS, user_id, backup.version, room_id, session_id)
    deleted = tx.connection.execute(statement, values).rowcount
    return _note_change(tx, user_id, backup, backup.key_count - deleted) if deleted else backup


def delete_backups_of(tx: Transaction, user_id: str) -> None:
    """Delete all backups of a user."""
    for statement in _DELETE_USER:
        tx.connection.execute(statement, {"of_user": user_id})


def _note_change(tx: Transaction, user_id: str, backup: Backup, key_count: int) -> Backup:
    changed = backup._replace(etag=backup.etag + 1, key_count=key_count)
    values = {"of_user": user_id, "of_version": backup.version, "new_etag": changed.etag, "new_count": key_count}
    tx.connection.execute(_SET_STATE, values)
    return changed


def _load_ranks(
    connection: Connection, user_id: str, version: int, keys: Iterable[BackedUpKey]
) -> dict[tuple[str, str], tuple[bool, int, int]]:
    by_room: dict[str, list[str]] = {}
    for key in keys:
        by_room.setdefault(key.room_id, []).append(key.session_id)
    found: dict[tuple[str, str], tuple[bool, int, int]] = {}
    for room_id, session_ids in by_room.items():
        values = {"of_user": user_id, "of_version": version, "of_room": room_id}
        for some in batched_list(session_ids):
            for session_id, verified, index, forwarded in connection.execute(_RANKS, {**values, "sessions": some}):
                found[(room_id, session_id)] = (not verified, index, forwarded)
    return found


def _at_level(
    statements: Sequence[T], user_id: str, version: int, room_id: str | None, session_id: str | None
) -> tuple[T, dict[str, str | int]]:
    """The statement for a whole version, a room or a session, with its values."""
    values: dict[str, str | int] = {"of_user": user_id, "of_version": version}
    if room_id is None:
        return statements[0], values
    values["of_room"] = room_id
    if session_id is None:
        return statements[1], values
    values["of_session"] = session_id
    return statements[2], values
