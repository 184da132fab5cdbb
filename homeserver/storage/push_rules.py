"""What users changed about their push rules: their own rules, and settings of the default rules.

One row a user: rules are read and written as a whole, and their order matters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, select

from homeserver.storage.changes import Change
from homeserver.storage.tables.user_data import push_rules
from homeserver.storage.upsert import insert_or_update

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction

_OF_USER = push_rules.c.user_id == bindparam("of_user")
_SELECT = select(push_rules.c.ruleset).where(_OF_USER)
_LOCK = _SELECT.with_for_update()
_SELECT_POSITION = select(push_rules.c.position).where(_OF_USER)
_STORE = insert_or_update(push_rules, ["user_id"], ["ruleset", "position"])
_DELETE = delete(push_rules).where(_OF_USER)


def find_ruleset(connection: Connection, user_id: str) -> bytes | None:
    """The user's changes as JSON, in the form of `homeserver.services.push_rules`; None without any."""
    ruleset = connection.execute(_SELECT, {"of_user": user_id}).scalar()
    return None if ruleset is None else bytes(ruleset)


def lock_ruleset(tx: Transaction, user_id: str) -> bytes | None:
    """The same, and nobody else changes it before this transaction ends."""
    ruleset = tx.connection.execute(_LOCK, {"of_user": user_id}).scalar()
    return None if ruleset is None else bytes(ruleset)


def changed_after(connection: Connection, user_id: str, after: int) -> bool:
    """Whether the user's rules changed after position `after`."""
    position = connection.execute(_SELECT_POSITION, {"of_user": user_id}).scalar()
    return position is not None and int(position) > after


def store_ruleset(tx: Transaction, user_id: str, ruleset: bytes) -> int:
    """Store the changes; the position. Announced as account data: clients see them as `m.push_rules`."""
    position = tx.next_position()
    tx.connection.execute(_STORE, {"user_id": user_id, "ruleset": ruleset, "position": position})
    tx.announce(Change(position, "account_data", user_ids=(user_id,)))
    return position


def delete_for_user(tx: Transaction, user_id: str) -> None:
    tx.connection.execute(_DELETE, {"of_user": user_id})
