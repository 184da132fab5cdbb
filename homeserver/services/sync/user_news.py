"""What a user's own settings add to a sync: account data, tags, push rules, and whom they ignore.

Reads only what changed after the client's token.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import orjson
from sqlalchemy import Connection

from homeserver.services.account_data import AccountData
from homeserver.services.push_rules import PushRules
from homeserver.storage import push_rules
from homeserver.storage.account_data import load_global, load_of_rooms, load_room
from homeserver.storage.database import Database

_PUSH_RULES = "m.push_rules"


class StoredUserNews:
    """Implements UserNews from the database."""

    def __init__(self, database: Database, account_data: AccountData, rules: PushRules) -> None:
        self._database = database
        self._account_data = account_data
        self._rules = rules

    async def global_account_data(self, user_id: str, after: int) -> list[tuple[str, bytes]]:
        """Account data changed after a position, push rules included; all of it when `after` is 0."""
        changed, rules_changed = await self._database.read(_load_changed, user_id, after)
        if rules_changed:
            rules = {"global": await self._rules.ruleset_of(user_id)}
            changed = [*changed, (_PUSH_RULES, orjson.dumps(rules))]
        return changed

    async def room_account_data(self, user_id: str, after: int) -> dict[str, list[tuple[str, bytes]]]:
        """Account data of rooms changed after a position, by room."""
        by_room: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
        for room_id, kind, content in await self._database.read(load_room, user_id, after):
            by_room[room_id].append((kind, content))
        return by_room

    async def account_data_of_rooms(self, user_id: str, room_ids: Sequence[str]) -> dict[str, list[tuple[str, bytes]]]:
        """All account data of some rooms, by room."""
        by_room: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
        for room_id, kind, content in await self._database.read(load_of_rooms, user_id, room_ids):
            by_room[room_id].append((kind, content))
        return by_room

    async def ignored_users(self, user_id: str) -> frozenset[str]:
        """Whom the user does not want to hear."""
        return await self._account_data.ignored_users(user_id)


def _load_changed(connection: Connection, user_id: str, after: int) -> tuple[list[tuple[str, bytes]], bool]:
    rules_changed = after == 0 or push_rules.changed_after(connection, user_id, after)
    return load_global(connection, user_id, after), rules_changed
