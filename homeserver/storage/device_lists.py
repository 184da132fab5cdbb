"""When the devices and keys of users last changed, and who came to share rooms with whom.

One row for each device that ever changed, so that followers read the latest change of each and no more.

Spec: client-server-api #tracking-the-device-list-for-a-user
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import bindparam, delete, func, or_, select

from homeserver.storage.changes import Change
from homeserver.storage.memberships import load_users_sharing_among
from homeserver.storage.tables.device_keys import device_list_changes, key_signatures
from homeserver.storage.tables.rooms import memberships
from homeserver.storage.upsert import insert_or_update

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction

DEVICE_LIST = "device_list"
CROSS_SIGNING = ""
"""Stands in place of a device ID for a user's cross-signing keys."""


class DeviceListChange(NamedTuple):
    """The latest change of a device; `device_id` may be `CROSS_SIGNING`. The device may be gone."""

    user_id: str
    device_id: str
    position: int


_changes = device_list_changes
_IN_SPAN = (_changes.c.position > bindparam("after"), _changes.c.position <= bindparam("up_to"))
_STORE = insert_or_update(_changes, ["user_id", "device_id"], ["position", "changed_ms"])
_CHANGED_USERS = select(_changes.c.user_id).distinct().where(*_IN_SPAN)
_CHANGES = select(_changes.c.user_id, _changes.c.device_id, _changes.c.position).where(*_IN_SPAN)
_IN_ORDER = _CHANGES.order_by(_changes.c.position).limit(bindparam("most"))
_LATEST = select(func.max(_changes.c.position)).where(_changes.c.user_id == bindparam("of_user"))
_SIGNED_BY = (
    select(key_signatures.c.target_user_id)
    .distinct()
    .where(
        key_signatures.c.signer_user_id == bindparam("of_user"),
        key_signatures.c.position > bindparam("after"),
        key_signatures.c.position <= bindparam("up_to"),
    )
)
_SIGNERS = (
    select(key_signatures.c.signer_user_id, key_signatures.c.position)
    .where(
        key_signatures.c.signer_user_id != key_signatures.c.target_user_id,
        key_signatures.c.position > bindparam("after"),
        key_signatures.c.position <= bindparam("up_to"),
    )
    .order_by(key_signatures.c.position)
)
_DELETE_OLD = delete(_changes).where(_changes.c.changed_ms < bindparam("before_ms"))
_mine = memberships.alias("mine")
_IN_MY_ROOMS = (
    select(memberships.c.user_id, memberships.c.membership)
    .distinct()
    .join(_mine, _mine.c.room_nid == memberships.c.room_nid)
    .where(
        _mine.c.user_id == bindparam("of_user"),
        _mine.c.membership == "join",
        memberships.c.user_id != bindparam("of_user"),
        or_(memberships.c.position > bindparam("after"), _mine.c.position > bindparam("after")),
    )
)
_IN_ROOMS_LEFT = (
    select(memberships.c.user_id)
    .distinct()
    .join(_mine, _mine.c.room_nid == memberships.c.room_nid)
    .where(
        _mine.c.user_id == bindparam("of_user"),
        _mine.c.membership.in_(["leave", "ban"]),
        _mine.c.position > bindparam("after"),
        memberships.c.user_id != bindparam("of_user"),
        memberships.c.membership == "join",
    )
)


def note_device_list_change(tx: Transaction, user_id: str, device_ids: Sequence[str], now_ms: int) -> int:
    """Note that devices of a user, or with `CROSS_SIGNING` their keys, changed; the position of the last change."""
    rows = [
        {"user_id": user_id, "device_id": device_id, "position": tx.next_position(), "changed_ms": now_ms}
        for device_id in device_ids
    ]
    if not rows:
        raise ValueError("a change of a device list needs a device")
    tx.connection.execute(_STORE, rows)
    position = int(str(rows[-1]["position"]))
    tx.announce(Change(position, DEVICE_LIST, user_ids=(user_id,)))
    return position


def load_changed_users(connection: Connection, user_id: str, after: int, up_to: int) -> set[str]:
    """Users whose devices or keys changed in a span of the log and whom `user_id` follows.

    Those are the users sharing a room, the user, and whoever's keys the user has signed meanwhile.
    """
    span = {"after": after, "up_to": up_to}
    changed = set(connection.execute(_CHANGED_USERS, span).scalars())
    own = changed & {user_id}
    signed = set(connection.execute(_SIGNED_BY, {"of_user": user_id, **span}).scalars())
    return own | signed | load_users_sharing_among(connection, user_id, changed - own)


def load_sharing_changes(connection: Connection, user_id: str, after: int) -> tuple[set[str], set[str]]:
    """Who may have come to share a room with a user since a position, and who may share none any more."""
    values = {"of_user": user_id, "after": after}
    came: set[str] = set()
    went = set(connection.execute(_IN_ROOMS_LEFT, values).scalars())
    for other, membership in connection.execute(_IN_MY_ROOMS, values):
        if membership == "join":
            came.add(other)
        elif membership in {"leave", "ban"}:
            went.add(other)
    return came, went - load_users_sharing_among(connection, user_id, went)


def load_device_list_changes(connection: Connection, after: int, up_to: int, most: int) -> list[DeviceListChange]:
    """The latest changes of devices within a span, oldest first: what a follower tells other servers."""
    rows = connection.execute(_IN_ORDER, {"after": after, "up_to": up_to, "most": most})
    return [DeviceListChange(*row) for row in rows]


def load_latest_change(connection: Connection, user_id: str) -> int:
    """The position at which a user's device list last changed; 0 if none is known."""
    return connection.execute(_LATEST, {"of_user": user_id}).scalar() or 0


def load_changes(connection: Connection, after: int, up_to: int) -> list[Change]:
    """What was announced in a span of the log, for a process that has to catch up."""
    span = {"after": after, "up_to": up_to}
    changed = [(user_id, position) for user_id, _, position in connection.execute(_CHANGES, span)]
    changed.extend((user_id, position) for user_id, position in connection.execute(_SIGNERS, span))
    return [Change(position, DEVICE_LIST, user_ids=(user_id,)) for user_id, position in changed]


def delete_old_changes(tx: Transaction, before_ms: int) -> int:
    """Retention: forget what changed so long ago that no client syncs from there; how many."""
    return tx.connection.execute(_DELETE_OLD, {"before_ms": before_ms}).rowcount
