"""Backups of room keys on the server: versions, and the keys in them.

Spec: client-server-api #server-side-key-backups
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from homeserver.protocol.errors import MatrixError, invalid_param, not_found
from homeserver.storage import key_backups as rows
from homeserver.storage.key_backups import BackedUpKey, Backup

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Database, Transaction

_LONGEST = 255
_MOST_DIGITS = 18


def backed_up_key(
    room_id: str,
    session_id: str,
    first_message_index: int,
    forwarded_count: int,
    is_verified: bool,
    session_data: Mapping[str, Any],
) -> BackedUpKey:
    """A key as a client uploads it; `session_data` is whatever the backup's algorithm makes of it."""
    data = orjson.dumps(dict(session_data))
    return BackedUpKey(room_id, session_id, first_message_index, forwarded_count, is_verified, data)


class KeyBackups:
    """Versions are texts to callers; those that this server never gave out are unknown."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, user_id: str, algorithm: str, auth_data: Mapping[str, Any]) -> str:
        """Begin a new version, which replaces the others as the current one."""
        version = await self._database.write(rows.create_backup, user_id, algorithm, orjson.dumps(dict(auth_data)))
        return str(version)

    async def current(self, user_id: str) -> dict[str, Any]:
        """What `GET /room_keys/version` says of the current version; M_NOT_FOUND."""
        backup = await self._database.read(rows.find_current_backup, user_id)
        if backup is None:
            raise not_found("There is no current backup version.")
        return _shown(backup)

    async def get(self, user_id: str, version: str) -> dict[str, Any]:
        """The same of any version; M_NOT_FOUND."""
        return _shown(await self._database.read(_get_backup, user_id, version))

    async def update(self, user_id: str, version: str, algorithm: str, auth_data: Mapping[str, Any]) -> None:
        """Replace the `auth_data` of a version; M_NOT_FOUND, M_INVALID_PARAM for another algorithm."""
        await self._database.write(_update, user_id, version, algorithm, orjson.dumps(dict(auth_data)))

    async def delete(self, user_id: str, version: str) -> None:
        """Delete a version and its keys, if that was not done before; M_NOT_FOUND if there never was one."""
        await self._database.write(_delete, user_id, version)

    async def put_keys(self, user_id: str, version: str, keys: Sequence[BackedUpKey]) -> dict[str, Any]:
        """Add keys, each unless a better one is there; the etag and count of the version.

        M_NOT_FOUND, M_WRONG_ROOM_KEYS_VERSION for a version that is not the current one.
        """
        for key in keys:
            _check_ids(key.room_id, key.session_id)
        return _state(await self._database.write(_put_keys, user_id, version, keys))

    async def keys(
        self, user_id: str, version: str, room_id: str | None = None, session_id: str | None = None
    ) -> dict[str, dict[str, Any]]:
        """Keys by room and session: of a whole version, one room, or one session. M_NOT_FOUND without the version."""
        found: dict[str, dict[str, Any]] = {}
        for key in await self._database.read(_load_keys, user_id, version, room_id, session_id):
            found.setdefault(key.room_id, {})[key.session_id] = {
                "first_message_index": key.first_message_index,
                "forwarded_count": key.forwarded_count,
                "is_verified": key.is_verified,
                "session_data": orjson.Fragment(key.session_data),
            }
        return found

    async def delete_keys(
        self, user_id: str, version: str, room_id: str | None = None, session_id: str | None = None
    ) -> dict[str, Any]:
        """Delete such keys; the etag and count of the version. M_NOT_FOUND without the version."""
        return _state(await self._database.write(_delete_keys, user_id, version, room_id, session_id))


def _shown(backup: Backup) -> dict[str, Any]:
    return {
        "algorithm": backup.algorithm,
        "auth_data": orjson.Fragment(backup.auth_data),
        "version": str(backup.version),
        **_state(backup),
    }


def _state(backup: Backup) -> dict[str, Any]:
    return {"etag": str(backup.etag), "count": backup.key_count}


def _number(version: str) -> int:
    """The number behind a version's text; 0, which no version has, for a text that is none."""
    is_number = version.isascii() and version.isdigit() and len(version) <= _MOST_DIGITS
    return int(version) if is_number else 0


def _unknown() -> MatrixError:
    return not_found("There is no such backup version.")


def _check_ids(*ids: str) -> None:
    if any(not one or len(one) > _LONGEST or "\x00" in one for one in ids):
        raise invalid_param(f"The IDs of rooms and sessions have 1 to {_LONGEST} characters.")


def _get_backup(connection: Connection, user_id: str, version: str) -> Backup:
    backup = rows.find_backup(connection, user_id, _number(version))
    if backup is None:
        raise _unknown()
    return backup


def _lock_backup(tx: Transaction, user_id: str, version: str) -> Backup:
    backup = rows.lock_backup(tx, user_id, _number(version))
    if backup is None:
        raise _unknown()
    return backup


def _update(tx: Transaction, user_id: str, version: str, algorithm: str, auth_data: bytes) -> None:
    backup = _lock_backup(tx, user_id, version)
    if backup.algorithm != algorithm:
        raise invalid_param("The algorithm does not match that of the backup.")
    rows.set_auth_data(tx, user_id, backup.version, auth_data)


def _delete(tx: Transaction, user_id: str, version: str) -> None:
    number = _number(version)
    if not 0 < number <= rows.load_newest_version(tx.connection, user_id):
        raise _unknown()
    rows.delete_backup(tx, user_id, number)


def _put_keys(tx: Transaction, user_id: str, version: str, keys: Sequence[BackedUpKey]) -> Backup:
    current = rows.find_current_backup(tx.connection, user_id)
    number = _number(version)
    if current is None or not 0 < number <= rows.load_newest_version(tx.connection, user_id):
        raise _unknown()
    if number != current.version:
        raise MatrixError(
            "M_WRONG_ROOM_KEYS_VERSION",
            "Keys can only be added to the current backup version.",
            403,
            extra={"current_version": str(current.version)},
        )
    return rows.store_keys(tx, user_id, _lock_backup(tx, user_id, version), keys)


def _load_keys(
    connection: Connection, user_id: str, version: str, room_id: str | None, session_id: str | None
) -> list[BackedUpKey]:
    if "\x00" in (room_id or "") + (session_id or ""):
        return []
    backup = _get_backup(connection, user_id, version)
    return rows.load_keys(connection, user_id, backup.version, room_id, session_id)


def _delete_keys(tx: Transaction, user_id: str, version: str, room_id: str | None, session_id: str | None) -> Backup:
    backup = _lock_backup(tx, user_id, version)
    if "\x00" in (room_id or "") + (session_id or ""):
        return backup
    return rows.delete_keys(tx, user_id, backup, room_id, session_id)
