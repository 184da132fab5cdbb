"""Joins new accounts to the rooms that the settings name.

A room that cannot be joined keeps nobody from registering; the log says why.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from homeserver.protocol.errors import MatrixError
from homeserver.runtime.background import BackgroundTasks
from homeserver.services.rooms.aliases import RoomDirectory
from homeserver.services.rooms.membership import MembershipService
from homeserver.storage.accounts import User

_log = structlog.get_logger("homeserver.rooms")


class AutoJoin:
    """Hears of new accounts. Implements the accounts' `AccountObserver`."""

    def __init__(
        self,
        aliases: Sequence[str],
        directory: RoomDirectory,
        membership: MembershipService,
        background: BackgroundTasks,
    ) -> None:
        self._aliases = tuple(aliases)
        self._directory = directory
        self._membership = membership
        self._background = background

    async def account_created(self, user: User) -> None:
        # A bridge opens accounts by the thousand; where its users belong is its own affair.
        if self._aliases and user.kind != "guest" and user.appservice_id is None:
            self._background.start("auto-join", self._join_all(user.user_id))

    async def account_deactivated(self, user_id: str, erase: bool) -> None:
        return

    async def _join_all(self, user_id: str) -> None:
        for alias in self._aliases:
            try:
                found = await self._directory.find(alias)
                await self._membership.join(user_id, found.room_id, via=found.servers)
            except MatrixError as error:
                _log.warning("could not join a new account to a room", user=user_id, alias=alias, why=error.sentence)
