"""Profiles of local users: display name, avatar and any other field.

A change takes a position, since clients may follow profiles through the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import bindparam, delete, select

from homeserver.storage.changes import Change
from homeserver.storage.tables.user_data import profiles
from homeserver.storage.upsert import insert_or_update

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class Profile:
    """A user's profile; `fields` holds everything but the display name and the avatar."""

    displayname: str | None = None
    avatar_url: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The profile as the specification renders it: what is not set is absent."""
        body = dict(self.fields)
        if self.displayname is not None:
            body["displayname"] = self.displayname
        if self.avatar_url is not None:
            body["avatar_url"] = self.avatar_url
        return body


_SELECT = select(profiles.c.displayname, profiles.c.avatar_url, profiles.c.fields).where(
    profiles.c.user_id == bindparam("wanted")
)
_SELECT_MANY = select(profiles.c.user_id, profiles.c.displayname, profiles.c.avatar_url, profiles.c.fields).where(
    profiles.c.user_id.in_(bindparam("wanted", expanding=True))
)
_SELECT_CHANGED = select(profiles.c.user_id).where(
    profiles.c.position > bindparam("after"), profiles.c.position <= bindparam("upto")
)
_STORE = insert_or_update(profiles, ["user_id"], ["displayname", "avatar_url", "fields", "position"])
_DELETE = delete(profiles).where(profiles.c.user_id == bindparam("wanted"))


def find_profile(connection: Connection, user_id: str) -> Profile | None:
    row = connection.execute(_SELECT, {"wanted": user_id}).first()
    return None if row is None else Profile(row[0], row[1], orjson.loads(row[2]))


def load_profiles(connection: Connection, user_ids: list[str]) -> dict[str, Profile]:
    """The profiles of those users that have one."""
    rows = connection.execute(_SELECT_MANY, {"wanted": user_ids})
    return {user_id: Profile(name, avatar, orjson.loads(fields)) for user_id, name, avatar, fields in rows}


def load_changed(connection: Connection, after: int, upto: int) -> list[str]:
    """The users whose profiles last changed after position `after`, up to `upto`."""
    return [user_id for (user_id,) in connection.execute(_SELECT_CHANGED, {"after": after, "upto": upto})]


def store_profile(tx: Transaction, user_id: str, profile: Profile) -> None:
    """Store a whole profile as one change of the log."""
    position = tx.next_position()
    row = {
        "user_id": user_id,
        "displayname": profile.displayname,
        "avatar_url": profile.avatar_url,
        "fields": orjson.dumps(dict(profile.fields)),
        "position": position,
    }
    tx.connection.execute(_STORE, row)
    tx.announce(Change(position, "profile", user_ids=(user_id,)))


def delete_profile(tx: Transaction, user_id: str) -> None:
    tx.connection.execute(_DELETE, {"wanted": user_id})
