"""The e-mail addresses and telephone numbers of accounts, and where users have published them.

Spec: client-server-api #adding-account-administrative-contact-information
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import bindparam, delete, func, select

from homeserver.storage.tables.pushers import push_queue, pushers
from homeserver.storage.tables.third_party_ids import third_party_id_bindings as bindings
from homeserver.storage.tables.third_party_ids import user_third_party_ids as ids
from homeserver.storage.upsert import insert_or_ignore, insert_or_update

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction


class ThirdPartyId(NamedTuple):
    """One address of an account. Times are milliseconds since 1970."""

    medium: str
    address: str
    validated_ms: int
    added_ms: int


class Binding(NamedTuple):
    """An address that a user has published at an identity server."""

    medium: str
    address: str
    id_server: str


_THIS = (ids.c.medium == bindparam("of_medium"), ids.c.address == bindparam("of_address"))
_OF_USER = ids.c.user_id == bindparam("of_user")
_FIND_OWNER = select(ids.c.user_id).where(*_THIS)
_SELECT = (
    select(ids.c.medium, ids.c.address, ids.c.validated_ms, ids.c.added_ms)
    .where(_OF_USER)
    .order_by(ids.c.added_ms, ids.c.address)
)
_COUNT = select(func.count()).select_from(ids).where(_OF_USER)
_ADD = insert_or_update(ids, ["medium", "address"], ["validated_ms"])
_DELETE = delete(ids).where(_OF_USER, *_THIS)
_DELETE_ALL = delete(ids).where(_OF_USER)

_BIND = insert_or_ignore(bindings, ["user_id", "medium", "address", "id_server"])
_BOUND_BY = bindings.c.user_id == bindparam("of_user")
_SELECT_BOUND = select(bindings.c.medium, bindings.c.address, bindings.c.id_server).where(_BOUND_BY)
_UNBIND = delete(bindings).where(
    _BOUND_BY,
    bindings.c.medium == bindparam("of_medium"),
    bindings.c.address == bindparam("of_address"),
    bindings.c.id_server == bindparam("of_server"),
)
_DIGESTS = select(pushers.c.pusher_nid).where(
    pushers.c.user_id == bindparam("of_user"),
    pushers.c.kind == "email",
    func.lower(pushers.c.pushkey) == bindparam("of_address"),
)
_DELETE_PUSHERS = delete(pushers).where(pushers.c.pusher_nid.in_(bindparam("nids", expanding=True)))
_DELETE_QUEUES = delete(push_queue).where(push_queue.c.pusher_nid.in_(bindparam("nids", expanding=True)))


def find_owner(connection: Connection, medium: str, address: str) -> str | None:
    """The user whose address it is."""
    owner: str | None = connection.execute(_FIND_OWNER, {"of_medium": medium, "of_address": address}).scalar()
    return owner


def load_of_user(connection: Connection, user_id: str) -> list[ThirdPartyId]:
    """A user's addresses, oldest first."""
    return [ThirdPartyId(*row) for row in connection.execute(_SELECT, {"of_user": user_id})]


def count_of_user(connection: Connection, user_id: str) -> int:
    return int(connection.execute(_COUNT, {"of_user": user_id}).scalar_one())


def add(tx: Transaction, user_id: str, one: ThirdPartyId) -> bool:
    """Give a user an address; False if it is somebody else's."""
    owner = find_owner(tx.connection, one.medium, one.address)
    if owner is not None and owner != user_id:
        return False
    tx.connection.execute(_ADD, {**one._asdict(), "user_id": user_id})
    return True


def delete_one(tx: Transaction, user_id: str, medium: str, address: str) -> bool:
    """Take an address from a user, and the digests that went to it; False if it was not theirs."""
    parameters = {"of_user": user_id, "of_medium": medium, "of_address": address}
    if tx.connection.execute(_DELETE, parameters).rowcount == 0:
        return False
    nids = list(tx.connection.execute(_DIGESTS, {"of_user": user_id, "of_address": address}).scalars())
    if medium == "email" and nids:
        tx.connection.execute(_DELETE_PUSHERS, {"nids": nids})
        tx.connection.execute(_DELETE_QUEUES, {"nids": nids})
    return True


def delete_of_user(tx: Transaction, user_id: str) -> None:
    tx.connection.execute(_DELETE_ALL, {"of_user": user_id})


def store_binding(tx: Transaction, user_id: str, binding: Binding) -> None:
    tx.connection.execute(_BIND, {**binding._asdict(), "user_id": user_id})


def load_bindings(connection: Connection, user_id: str) -> list[Binding]:
    """Where a user's addresses are published."""
    return [Binding(*row) for row in connection.execute(_SELECT_BOUND, {"of_user": user_id})]


def delete_binding(tx: Transaction, user_id: str, binding: Binding) -> None:
    parameters = {"of_medium": binding.medium, "of_address": binding.address, "of_server": binding.id_server}
    tx.connection.execute(_UNBIND, {"of_user": user_id, **parameters})
