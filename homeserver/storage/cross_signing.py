"""Cross-signing keys, and the signatures on them and on devices: who signed what.

Spec: client-server-api #cross-signing
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from sqlalchemy import bindparam, delete, or_, select

from homeserver.storage.changes import Change
from homeserver.storage.device_lists import CROSS_SIGNING, DEVICE_LIST, note_device_list_change
from homeserver.storage.events import batched_list
from homeserver.storage.tables.accounts import users
from homeserver.storage.tables.device_keys import cross_signing_keys, key_signatures
from homeserver.storage.upsert import insert_or_update

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction

MASTER = "master"
SELF_SIGNING = "self_signing"
USER_SIGNING = "user_signing"


class CrossSigningKey(NamedTuple):
    """A key as its owner uploaded it; `public_key` is in Base64."""

    public_key: str
    key: dict[str, Any]

    @property
    def key_id(self) -> str:
        return f"ed25519:{self.public_key}"


class KeySignature(NamedTuple):
    """A signature. `target_key` is a device ID or the public key of a master key."""

    target_user_id: str
    target_key: str
    signer_user_id: str
    signer_key_id: str
    signature: str


_keys, _signatures = cross_signing_keys, key_signatures
_OF_USERS = select(_keys.c.user_id, _keys.c.usage, _keys.c.public_key, _keys.c.key).where(
    _keys.c.user_id.in_(bindparam("users", expanding=True))
)
_HAS_KEY = select(_keys.c.usage).where(_keys.c.user_id == bindparam("of_user"), _keys.c.public_key == bindparam("key"))
_LOCK_USER = select(users.c.user_id).where(users.c.user_id == bindparam("of_user")).with_for_update()
_STORE = insert_or_update(_keys, ["user_id", "usage"], ["public_key", "key"])
_DELETE = delete(_keys).where(_keys.c.user_id == bindparam("of_user"), _keys.c.usage == bindparam("of_usage"))
_VISIBLE = select(
    _signatures.c.target_user_id,
    _signatures.c.target_key,
    _signatures.c.signer_user_id,
    _signatures.c.signer_key_id,
    _signatures.c.signature,
).where(
    _signatures.c.target_user_id.in_(bindparam("users", expanding=True)),
    or_(
        _signatures.c.signer_user_id == _signatures.c.target_user_id,
        _signatures.c.signer_user_id == bindparam("of_reader"),
    ),
)
_STORE_SIGNATURE = insert_or_update(
    _signatures,
    ["target_user_id", "target_key", "signer_user_id", "signer_key_id"],
    ["signature", "position"],
)
_DELETE_SIGNATURES_ON = delete(_signatures).where(
    _signatures.c.target_user_id == bindparam("of_user"),
    _signatures.c.target_key.in_(bindparam("keys", expanding=True)),
)
_DELETE_SIGNATURES_BY = delete(_signatures).where(
    _signatures.c.signer_user_id == bindparam("of_user"),
    _signatures.c.signer_key_id.in_(bindparam("keys", expanding=True)),
)
_DELETE_USER = (
    delete(_keys).where(_keys.c.user_id == bindparam("of_user")),
    delete(_signatures).where(
        or_(_signatures.c.target_user_id == bindparam("of_user"), _signatures.c.signer_user_id == bindparam("of_user"))
    ),
)


def load_cross_signing_keys(connection: Connection, user_ids: Collection[str]) -> dict[str, dict[str, CrossSigningKey]]:
    """The keys of users, by user ID and usage."""
    found: dict[str, dict[str, CrossSigningKey]] = {}
    for some in batched_list(user_ids):
        for user_id, usage, public_key, key in connection.execute(_OF_USERS, {"users": some}):
            found.setdefault(user_id, {})[usage] = CrossSigningKey(public_key, orjson.loads(key))
    return found


def lock_cross_signing_keys(tx: Transaction, user_id: str) -> dict[str, CrossSigningKey]:
    """A local user's keys by usage, which nobody else changes before this transaction ends."""
    tx.connection.execute(_LOCK_USER, {"of_user": user_id})
    return load_cross_signing_keys(tx.connection, [user_id]).get(user_id, {})


def has_key(connection: Connection, user_id: str, public_key: str) -> bool:
    """Whether one of a user's cross-signing keys is this one."""
    return connection.execute(_HAS_KEY, {"of_user": user_id, "key": public_key}).first() is not None


def store_cross_signing_keys(
    tx: Transaction, user_id: str, keys: Mapping[str, CrossSigningKey], removed: Collection[str], now_ms: int
) -> None:
    """Replace keys by usage and take away others; what the old ones signed, or was signed on them, goes with them."""
    old = load_cross_signing_keys(tx.connection, [user_id]).get(user_id, {})
    gone = [
        key
        for usage, key in old.items()
        if usage in removed or (usage in keys and keys[usage].public_key != key.public_key)
    ]
    _delete_signatures(tx, user_id, [key.public_key for key in gone], [key.key_id for key in gone])
    for usage in removed:
        tx.connection.execute(_DELETE, {"of_user": user_id, "of_usage": usage})
    rows = [
        {"user_id": user_id, "usage": usage, "public_key": key.public_key, "key": orjson.dumps(key.key)}
        for usage, key in keys.items()
    ]
    tx.connection.execute(_STORE, rows)
    note_device_list_change(tx, user_id, [CROSS_SIGNING], now_ms)


def load_visible_signatures(
    connection: Connection, user_ids: Collection[str], reader: str
) -> dict[tuple[str, str], list[KeySignature]]:
    """Signatures on the keys of users, by (user ID, target key): those of the owners and those of the reader.

    Spec: client-server-api #key-and-signature-security
    """
    found: dict[tuple[str, str], list[KeySignature]] = {}
    for some in batched_list(user_ids):
        for row in connection.execute(_VISIBLE, {"users": some, "of_reader": reader}):
            signature = KeySignature(*row)
            found.setdefault((signature.target_user_id, signature.target_key), []).append(signature)
    return found


def store_signatures(
    tx: Transaction, signer: str, signatures: Iterable[KeySignature], own_devices: Sequence[str], now_ms: int
) -> None:
    """Store a user's signatures. `own_devices` are the devices, or `CROSS_SIGNING`, that others will see changed."""
    rows = [{**signature._asdict(), "position": tx.next_position()} for signature in signatures]
    if not rows:
        return
    tx.connection.execute(_STORE_SIGNATURE, rows)
    if own_devices:
        note_device_list_change(tx, signer, own_devices, now_ms)
    else:
        # Only the signer's own devices see signatures on other users' keys.
        tx.announce(Change(int(str(rows[-1]["position"])), DEVICE_LIST, user_ids=(signer,)))


def delete_device_signatures(tx: Transaction, user_id: str, device_ids: Sequence[str]) -> None:
    """Delete the signatures on devices, and those made by them."""
    _delete_signatures(tx, user_id, device_ids, [f"ed25519:{device_id}" for device_id in device_ids])


def delete_cross_signing_of(tx: Transaction, user_id: str) -> None:
    """Delete all keys of a user, the signatures on them, and all signatures the user made."""
    for statement in _DELETE_USER:
        tx.connection.execute(statement, {"of_user": user_id})


def _delete_signatures(tx: Transaction, user_id: str, on_keys: Sequence[str], by_key_ids: Sequence[str]) -> None:
    if on_keys:
        tx.connection.execute(_DELETE_SIGNATURES_ON, {"of_user": user_id, "keys": list(on_keys)})
        tx.connection.execute(_DELETE_SIGNATURES_BY, {"of_user": user_id, "keys": list(by_key_ids)})
