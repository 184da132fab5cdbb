"""Which devices are sessions of the OAuth 2.0 API, and of which client: rows of `oauth_grants`.

The tokens themselves are ordinary ones. A grant goes with its device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, select

from homeserver.storage import access_tokens, devices
from homeserver.storage.access_tokens import Rotation, TokenPair
from homeserver.storage.devices import DeviceRows
from homeserver.storage.tables.oauth import oauth_grants as grants
from homeserver.storage.upsert import insert_or_update

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class Grant:
    """What a user has granted to a client: to be one device of theirs."""

    user_id: str
    device_id: str
    client_id: str
    scope: str
    granted_ms: int


_COLUMNS = (grants.c.user_id, grants.c.device_id, grants.c.client_id, grants.c.scope, grants.c.granted_ms)
_OF_USER = grants.c.user_id == bindparam("of_user")
_SELECT_ONE = select(*_COLUMNS).where(_OF_USER, grants.c.device_id == bindparam("wanted"))
_SELECT_ALL = select(*_COLUMNS).where(_OF_USER)
_STORE = insert_or_update(grants, ["user_id", "device_id"], ["client_id", "scope", "granted_ms"])
_DELETE = delete(grants).where(_OF_USER, grants.c.device_id.in_(bindparam("wanted", expanding=True)))


def find_grant(connection: Connection, user_id: str, device_id: str) -> Grant | None:
    row = connection.execute(_SELECT_ONE, {"of_user": user_id, "wanted": device_id}).first()
    return None if row is None else Grant(*row)


def load_grants(connection: Connection, user_id: str) -> dict[str, Grant]:
    """The grants of a user by device ID."""
    return {row.device_id: Grant(*row) for row in connection.execute(_SELECT_ALL, {"of_user": user_id})}


def find_grant_of_refresh_token(connection: Connection, refresh_hash: bytes) -> Grant | None:
    """The grant behind a refresh token, used-up and expired ones included."""
    owner = access_tokens.find_refresh_owner(connection, refresh_hash)
    return None if owner is None else find_grant(connection, *owner)


def store_grant(tx: Transaction, grant: Grant) -> None:
    values = {column.name: getattr(grant, column.name) for column in _COLUMNS}
    tx.connection.execute(_STORE, values)


def delete_grants(tx: Transaction, user_id: str, device_ids: Sequence[str]) -> None:
    tx.connection.execute(_DELETE, {"of_user": user_id, "wanted": list(device_ids)})


def rotate(
    tx: Transaction, refresh_hash: bytes, client_id: str, pair: TokenPair, now_ms: int, rows: Sequence[DeviceRows]
) -> tuple[Rotation, Grant | None]:
    """Exchange a refresh token of this client for a new pair.

    A token that was replaced long since has been copied by somebody: its whole family ends, device included.
    """
    grant = find_grant_of_refresh_token(tx.connection, refresh_hash)
    if grant is None or grant.client_id != client_id:
        return Rotation(refused="unknown"), grant
    rotation = access_tokens.rotate(tx, refresh_hash, pair, now_ms)
    if rotation.refused == "replaced":
        devices.delete_devices(tx, grant.user_id, [grant.device_id], rows)
    return rotation, grant


class GrantRows:
    """Grants go with their devices. Implements `DeviceRows`."""

    def device_changed(self, tx: Transaction, user_id: str, device_id: str) -> None:
        """A grant does not care for a device's name."""

    def devices_deleted(self, tx: Transaction, user_id: str, device_ids: Sequence[str]) -> None:
        delete_grants(tx, user_id, device_ids)
