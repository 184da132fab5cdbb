"""Finds people by name among those a user may see.

One statement over the memberships that are kept anyway; nothing is written for it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, Subquery, and_, bindparam, func, or_, select, union_all

from homeserver.storage.tables.accounts import users
from homeserver.storage.tables.rooms import memberships, room_summaries
from homeserver.storage.tables.user_data import profiles


class FoundUser(NamedTuple):
    """Somebody, as the rooms they are in show them."""

    user_id: str
    display_name: str | None
    avatar_url: str | None


_own = memberships.alias("own")
_shared = (
    select(_own.c.room_nid)
    .where(
        _own.c.room_nid == memberships.c.room_nid,
        _own.c.user_id == bindparam("searcher"),
        _own.c.membership == "join",
    )
    .exists()
)
_open = or_(room_summaries.c.join_rule == "public", room_summaries.c.history_visibility == "world_readable")
_named = or_(
    func.lower(memberships.c.user_id).like(bindparam("pattern"), escape="\\"),
    func.lower(memberships.c.display_name).like(bindparam("pattern"), escape="\\"),
)
_in_rooms = (
    select(memberships.c.user_id, memberships.c.display_name, memberships.c.avatar_url)
    .join(room_summaries, room_summaries.c.room_nid == memberships.c.room_nid)
    .where(memberships.c.membership == "join", _named, or_(_open, _shared))
)
_accounts = (
    select(users.c.user_id, profiles.c.displayname, profiles.c.avatar_url)
    .outerjoin(profiles, profiles.c.user_id == users.c.user_id)
    .where(
        and_(users.c.deactivated.is_(False), users.c.kind != "guest"),
        or_(
            func.lower(users.c.user_id).like(bindparam("pattern"), escape="\\"),
            func.lower(profiles.c.displayname).like(bindparam("pattern"), escape="\\"),
        ),
    )
)


_everybody = union_all(_in_rooms, _accounts).subquery()
_members = _in_rooms.subquery()


def _each_once(found: Subquery) -> Select[Any]:
    user_id, name, avatar_url = found.columns
    return (
        select(user_id, func.max(name), func.max(avatar_url))
        .where(user_id != bindparam("searcher"))
        .group_by(user_id)
        .order_by(user_id)
        .limit(bindparam("most"))
    )


_SEEN = _each_once(_members)
_ALL = _each_once(_everybody)


def find_users(connection: Connection, searcher: str, term: str, most: int, *, all_accounts: bool) -> list[FoundUser]:
    """Up to `most` users whose id or name holds `term`, whatever its case, by user id.

    Those in rooms with the searcher or in rooms open to everybody; with `all_accounts` also all accounts here.
    """
    escaped = term.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    values = {"searcher": searcher, "pattern": f"%{escaped}%", "most": most}
    return [FoundUser(*row) for row in connection.execute(_ALL if all_accounts else _SEEN, values)]
