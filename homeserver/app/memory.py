"""What a process keeps in memory of the database, where the database may change behind its back.

By another process, or by a commit of its own of which the connection broke before it heard.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from homeserver.storage.database import load_position
from homeserver.storage.missed import load_changed_room_ids

if TYPE_CHECKING:
    from homeserver.app.homeserver import Homeserver
    from homeserver.storage.changes import Change


class Memory:
    """All that a process keeps in memory of what other processes may change."""

    def __init__(self, server: Homeserver) -> None:
        self._server = server

    def apply(self, changes: Sequence[Change], position: int | None) -> None:
        """Follow a commit, whoever made it."""
        server = self._server
        server.account_data.follow(changes)
        server.push_rules.follow(changes)
        server.profiles.follow(changes)
        server.follow(changes, position)

    async def missed(self, after: int, up_to: int) -> None:
        """Forget what may have changed in a stretch of the log, and have everyone look into the database."""
        server = self._server
        room_ids = await server.database.read(load_changed_room_ids, after)
        parts = server.rooms
        for room_id in room_ids:
            parts.rooms.drop(room_id)
        for cache in (parts.events.cache, parts.unread.cache):
            cache.clear()
        parts.visibility.forget_all()
        server.encryption.news.forget_all()
        for kept in (server.account_data, server.push_rules, server.profiles, server.tokens):
            kept.forget_all()
        if server.federation is not None:
            server.federation.missed()
        parts.hub.missed(up_to)
        server.appservices.follow((), up_to)
        server.followers.follow((), up_to)

    async def look(self) -> None:
        """Make good whatever was committed that nobody heard of."""
        position = await self._server.database.read(load_position)
        known = self._server.rooms.hub.position
        if position > known:
            await self.missed(known, position)
