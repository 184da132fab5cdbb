"""Account data and tags: what a user keeps on the server for all of their devices.

Types that the server manages (`m.fully_read`, `m.push_rules`) are read here, and written elsewhere.

Spec: client-server-api #client-config
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from homeserver.protocol.errors import MatrixError, bad_json, invalid_param, not_found
from homeserver.services.loading_cache import LoadingCache
from homeserver.storage import account_data as rows

if TYPE_CHECKING:
    from homeserver.services.push_rules import PushRules
    from homeserver.storage.changes import Change
    from homeserver.storage.database import Database, Transaction

_SERVER_MANAGED = frozenset({"m.fully_read", "m.push_rules"})
_TAGS = "m.tag"
_LONGEST_TYPE = 255
_LONGEST_TAG = 255
_MOST_BYTES = 262_144


class AccountData:
    """Global and room account data of local users."""

    def __init__(self, database: Database, push_rules: PushRules, *, cache_size: int = 20_000) -> None:
        self._database = database
        self._push_rules = push_rules
        self._ignored: LoadingCache[str, frozenset[str]] = LoadingCache("ignored_users", cache_size)

    async def get(self, user_id: str, kind: str) -> dict[str, Any]:
        """Global account data; M_NOT_FOUND."""
        if kind == "m.push_rules":
            return {"global": await self._push_rules.ruleset_of(user_id)}
        return _found(await self._database.read(rows.find_global, user_id, kind))

    async def get_in_room(self, user_id: str, room_id: str, kind: str) -> dict[str, Any]:
        """Account data about a room; M_NOT_FOUND."""
        return _found(await self._database.read(rows.find_in_room, user_id, room_id, kind))

    async def put(self, user_id: str, kind: str, content: Mapping[str, Any]) -> None:
        """Store global account data; M_BAD_JSON (405) for types the server manages, M_TOO_LARGE."""
        await self._database.write(rows.store_global, user_id, kind, _checked(kind, content))
        self._changed(user_id, kind)

    async def put_in_room(self, user_id: str, room_id: str, kind: str, content: Mapping[str, Any]) -> None:
        """Store account data about a room; the errors of `put`."""
        await self._database.write(rows.store_in_room, user_id, room_id, kind, _checked(kind, content))

    async def delete(self, user_id: str, kind: str) -> None:
        """Delete global account data, if there is any; clients see it become empty."""
        _check_type(kind)
        await self._database.write(_delete_global, user_id, kind)
        self._changed(user_id, kind)

    async def delete_in_room(self, user_id: str, room_id: str, kind: str) -> None:
        _check_type(kind)
        await self._database.write(_delete_in_room, user_id, room_id, kind)

    async def ignored_users(self, user_id: str) -> frozenset[str]:
        """The users this user does not want to hear of. Spec: client-server-api #ignoring-users"""
        return await self._ignored.get(user_id, lambda: self._load_ignored(user_id))

    async def blocks_invites(self, user_id: str) -> bool:
        """Whether a user wants no invitations at all.

        Spec: client-server-api #invite-permission
        """
        stored = await self._database.read(rows.find_global, user_id, "m.invite_permission_config")
        return stored is not None and orjson.loads(stored).get("default_action") == "block"

    async def tags(self, user_id: str, room_id: str) -> dict[str, Any]:
        """The tags of a room by name. Spec: client-server-api #room-tagging"""
        return _tags_in(await self._database.read(rows.find_in_room, user_id, room_id, _TAGS))

    async def put_tag(self, user_id: str, room_id: str, tag: str, details: Mapping[str, Any]) -> None:
        """Give a room a tag; M_INVALID_PARAM for a name that is too long, M_BAD_JSON for an impossible `order`."""
        if len(tag.encode("utf-8", "surrogatepass")) > _LONGEST_TAG:
            raise invalid_param(f"A tag may have at most {_LONGEST_TAG} bytes.")
        order = details.get("order")
        if order is not None and (isinstance(order, bool) or not isinstance(order, int | float)):
            raise bad_json("`order` must be a number.")
        await self._database.write(_put_tag, user_id, room_id, tag, dict(details))

    async def delete_tag(self, user_id: str, room_id: str, tag: str) -> None:
        """Take a tag off a room, if it is there."""
        await self._database.write(_delete_tag, user_id, room_id, tag)

    def follow(self, changes: Iterable[Change]) -> None:
        """Forget what another process changed."""
        for change in changes:
            if change.subject == "account_data":
                for user_id in change.user_ids:
                    self._ignored.drop(user_id)

    def forget_all(self) -> None:
        """Nobody knows what changed."""
        self._ignored.clear()

    def _changed(self, user_id: str, kind: str) -> None:
        if kind == "m.ignored_user_list":
            self._ignored.drop(user_id)

    async def _load_ignored(self, user_id: str) -> frozenset[str]:
        raw = await self._database.read(rows.find_global, user_id, "m.ignored_user_list")
        ignored = None if raw is None else orjson.loads(raw).get("ignored_users")
        # Nobody can ignore themselves: their own messages would vanish.
        return frozenset(ignored) - {user_id} if isinstance(ignored, dict) else frozenset()


def _checked(kind: str, content: Mapping[str, Any]) -> bytes:
    _check_type(kind)
    raw = orjson.dumps(dict(content))
    if len(raw) > _MOST_BYTES:
        raise MatrixError("M_TOO_LARGE", f"Account data may have at most {_MOST_BYTES} bytes.", 413)
    return raw


def _check_type(kind: str) -> None:
    if kind in _SERVER_MANAGED:
        raise MatrixError("M_BAD_JSON", f"{kind} cannot be set through this API.", 405)
    if not kind or len(kind.encode("utf-8", "surrogatepass")) > _LONGEST_TYPE:
        raise invalid_param(f"A type of account data has 1 to {_LONGEST_TYPE} bytes.")


def _found(raw: bytes | None) -> dict[str, Any]:
    if raw is None:
        raise not_found("There is no such account data.")
    content: dict[str, Any] = orjson.loads(raw)
    return content


def _tags_in(raw: bytes | None) -> dict[str, Any]:
    tags = None if raw is None else orjson.loads(raw).get("tags")
    return tags if isinstance(tags, dict) else {}


def _delete_global(tx: Transaction, user_id: str, kind: str) -> None:
    if rows.find_global(tx.connection, user_id, kind) is not None:
        rows.store_global(tx, user_id, kind, b"{}", deleted=True)


def _delete_in_room(tx: Transaction, user_id: str, room_id: str, kind: str) -> None:
    if rows.find_in_room(tx.connection, user_id, room_id, kind) is not None:
        rows.store_in_room(tx, user_id, room_id, kind, b"{}", deleted=True)


def _put_tag(tx: Transaction, user_id: str, room_id: str, tag: str, details: dict[str, Any]) -> None:
    tags = _tags_in(rows.find_in_room(tx.connection, user_id, room_id, _TAGS))
    rows.store_in_room(tx, user_id, room_id, _TAGS, orjson.dumps({"tags": {**tags, tag: details}}))


def _delete_tag(tx: Transaction, user_id: str, room_id: str, tag: str) -> None:
    tags = _tags_in(rows.find_in_room(tx.connection, user_id, room_id, _TAGS))
    if tags.pop(tag, None) is not None:
        rows.store_in_room(tx, user_id, room_id, _TAGS, orjson.dumps({"tags": tags}))
