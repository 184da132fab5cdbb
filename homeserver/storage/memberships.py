"""Who is in which room, as the rooms' current state has it: one row for each user that ever was.

Sync, the room list of a user and the member list of a room all read from here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, select, update

from homeserver.protocol.identifiers import server_name_of
from homeserver.storage.changes import Change
from homeserver.storage.database import Transaction
from homeserver.storage.events import StoredEvent, batched_list
from homeserver.storage.room_summaries import MemberSteps, member_steps
from homeserver.storage.tables.events import events
from homeserver.storage.tables.rooms import memberships, rooms
from homeserver.storage.upsert import insert_or_update

FORGOTTEN = "forgotten"


class Membership(NamedTuple):
    """A user's standing in a room. `position` is when it last changed."""

    room_id: str
    membership: str
    event_id: str
    position: int
    sender: str
    forgotten: bool


class Member(NamedTuple):
    """A member of a room, with the name and picture shown there."""

    user_id: str
    display_name: str | None
    avatar_url: str | None


_UPSERT = insert_or_update(
    memberships,
    ["room_nid", "user_id"],
    ["membership", "event_nid", "position", "sender", "display_name", "avatar_url", "local", "forgotten"],
)
_OLD = select(memberships.c.user_id, memberships.c.membership).where(
    memberships.c.room_nid == bindparam("room"), memberships.c.user_id.in_(bindparam("users", expanding=True))
)
_REMOVE = delete(memberships).where(
    memberships.c.room_nid == bindparam("room"), memberships.c.user_id == bindparam("user")
)
_OF_USER = (
    select(
        rooms.c.room_id,
        memberships.c.membership,
        events.c.event_id,
        memberships.c.position,
        memberships.c.sender,
        memberships.c.forgotten,
    )
    .join(rooms, rooms.c.nid == memberships.c.room_nid)
    .join(events, events.c.nid == memberships.c.event_nid)
    .where(memberships.c.user_id == bindparam("user"))
)
_IN_ROOM = _OF_USER.where(rooms.c.room_id == bindparam("room_id"))
_JOINED = (
    select(memberships.c.user_id, memberships.c.display_name, memberships.c.avatar_url)
    .join(rooms, rooms.c.nid == memberships.c.room_nid)
    .where(rooms.c.room_id == bindparam("room_id"), memberships.c.membership == "join")
)
_MEMBER_CHANGES = (
    select(memberships.c.user_id, memberships.c.membership)
    .join(rooms, rooms.c.nid == memberships.c.room_nid)
    .where(rooms.c.room_id == bindparam("room_id"), memberships.c.position > bindparam("after"))
)
_JOINED_ANYWHERE = (
    select(memberships.c.user_id)
    .where(memberships.c.user_id == bindparam("user"), memberships.c.membership == "join")
    .limit(1)
)
_LOCAL_MEMBERS = (
    select(memberships.c.user_id, memberships.c.membership)
    .join(rooms, rooms.c.nid == memberships.c.room_nid)
    .where(
        rooms.c.room_id == bindparam("room_id"),
        memberships.c.local.is_(True),
        memberships.c.membership.in_(["join", "invite", "knock"]),
    )
)
_other = memberships.alias("other")
_SHARING = (
    select(_other.c.user_id)
    .distinct()
    .join(memberships, memberships.c.room_nid == _other.c.room_nid)
    .where(
        memberships.c.user_id == bindparam("user"),
        memberships.c.membership == "join",
        _other.c.membership == "join",
    )
)
_SHARED_AMONG = _SHARING.where(_other.c.user_id.in_(bindparam("others", expanding=True)))
_SHARED_ROOMS = (
    select(rooms.c.room_id)
    .join(memberships, memberships.c.room_nid == rooms.c.nid)
    .join(_other, _other.c.room_nid == rooms.c.nid)
    .where(
        memberships.c.user_id == bindparam("user"),
        memberships.c.membership == "join",
        _other.c.user_id == bindparam("other_user"),
        _other.c.membership == "join",
    )
    .order_by(rooms.c.room_id)
)
_HEROES = (
    select(memberships.c.user_id)
    .join(rooms, rooms.c.nid == memberships.c.room_nid)
    .where(rooms.c.room_id == bindparam("room_id"), memberships.c.membership.in_(bindparam("wanted", expanding=True)))
    .order_by(memberships.c.position, memberships.c.user_id)
    .limit(bindparam("limit"))
)
_FORGET = (
    update(memberships)
    .where(
        memberships.c.room_nid == select(rooms.c.nid).where(rooms.c.room_id == bindparam("room_id_")).scalar_subquery(),
        memberships.c.user_id == bindparam("user"),
    )
    .values(forgotten=True)
)


def record_memberships(
    connection: Connection, room_nid: int, current: Mapping[str, StoredEvent | None], position: int, server_name: str
) -> MemberSteps:
    """Make `current` the memberships of these users in a room; None takes one away.

    Returns by how much the numbers of members change.
    """
    old: dict[str, str] = {}
    for users in batched_list(current):
        old.update(tuple(row) for row in connection.execute(_OLD, {"room": room_nid, "users": users}))
    rows = [
        _row(room_nid, user_id, stored, position, server_name)
        for user_id, stored in current.items()
        if stored is not None
    ]
    if rows:
        connection.execute(_UPSERT, rows)
    gone = [{"room": room_nid, "user": user_id} for user_id, stored in current.items() if stored is None]
    if gone:
        connection.execute(_REMOVE, gone)
    new = [stored.event.membership for stored in current.values() if stored is not None]
    return member_steps(old.values(), new)


def _row(room_nid: int, user_id: str, stored: StoredEvent, position: int, server_name: str) -> dict[str, Any]:
    content = stored.event.content
    return {
        "room_nid": room_nid,
        "user_id": user_id,
        "membership": stored.event.membership or "leave",
        "event_nid": stored.nid,
        "position": position,
        "sender": stored.event.sender,
        "display_name": _text(content.get("displayname")),
        "avatar_url": _text(content.get("avatar_url")),
        "local": server_name_of(user_id) == server_name,
        "forgotten": False,
    }


def load_memberships(connection: Connection, user_id: str) -> list[Membership]:
    """All rooms a user has ever had to do with."""
    return [Membership(*row) for row in connection.execute(_OF_USER, {"user": user_id})]


def find_membership(connection: Connection, room_id: str, user_id: str) -> Membership | None:
    """A user's standing in one room."""
    row = connection.execute(_IN_ROOM, {"user": user_id, "room_id": room_id}).first()
    return Membership(*row) if row else None


def load_member_changes(connection: Connection, room_id: str, after: int) -> list[tuple[str, str]]:
    """Whose membership changed after a position, and what it is now."""
    rows = connection.execute(_MEMBER_CHANGES, {"room_id": room_id, "after": after})
    return [(user_id, membership) for user_id, membership in rows]


def is_joined_anywhere(connection: Connection, user_id: str) -> bool:
    """Whether a user, of whatever server, is in any room known here."""
    return connection.execute(_JOINED_ANYWHERE, {"user": user_id}).first() is not None


def load_joined_members(connection: Connection, room_id: str) -> list[Member]:
    """Everyone joined to a room."""
    return [Member(*row) for row in connection.execute(_JOINED, {"room_id": room_id})]


def load_local_members(connection: Connection, room_id: str) -> dict[str, str]:
    """Our own users who are joined to, invited to or knocking on a room, with their membership."""
    return {row.user_id: row.membership for row in connection.execute(_LOCAL_MEMBERS, {"room_id": room_id})}


def load_users_sharing_rooms(connection: Connection, user_id: str) -> set[str]:
    """Everyone joined to a room that `user_id` is joined to, the user included."""
    return set(connection.execute(_SHARING, {"user": user_id}).scalars())


def load_users_sharing_among(connection: Connection, user_id: str, others: Collection[str]) -> set[str]:
    """Those of `others` who share a room with `user_id`."""
    found: set[str] = set()
    for some in batched_list(others):
        found.update(connection.execute(_SHARED_AMONG, {"user": user_id, "others": some}).scalars())
    return found


def load_shared_rooms(connection: Connection, user_id: str, other_user_id: str) -> list[str]:
    """The rooms both users are joined to."""
    return list(connection.execute(_SHARED_ROOMS, {"user": user_id, "other_user": other_user_id}).scalars())


def load_hero_candidates(connection: Connection, room_id: str, limit: int) -> list[str]:
    """Members after whom a room may be called: those in it or invited, or where there are none, those who left."""
    values = {"room_id": room_id, "wanted": ["join", "invite"], "limit": limit}
    present = list(connection.execute(_HEROES, values).scalars())
    if len(present) > 1:
        return present
    values["wanted"] = ["leave", "ban"]
    return present + list(connection.execute(_HEROES, values).scalars())


def forget_room(tx: Transaction, room_id: str, user_id: str) -> None:
    """Take a room a user has left out of that user's sight."""
    tx.connection.execute(_FORGET, {"room_id_": room_id, "user": user_id})
    tx.announce(Change(tx.next_position(), FORGOTTEN, None, (user_id,)))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
