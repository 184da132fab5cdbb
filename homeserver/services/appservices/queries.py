"""Asks services for users and rooms that do not exist yet but lie in their namespaces: they may make them.

Spec: application-service-api #querying
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import quote

import structlog

from homeserver.protocol.errors import unknown
from homeserver.protocol.identifiers import is_new_localpart, localpart_of
from homeserver.runtime.bounded_cache import BoundedCache
from homeserver.runtime.http_client import RemoteFailure, RemoteTimeout
from homeserver.storage.accounts import find_user

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.services.appservices.appservice import Appservice
    from homeserver.services.appservices.directory import AppserviceDirectory
    from homeserver.services.appservices.requests import AppserviceRequests
    from homeserver.storage.database import Database

_ATTEMPTS = 2
_NOT_AGAIN_FOR_S = 10.0
_log = structlog.get_logger("homeserver.appservices")


class AppserviceQueries:
    """Implements `AliasMakers`, `UserMakers` and `InvitedUsers`."""

    def __init__(
        self,
        appservices: AppserviceDirectory,
        requests: AppserviceRequests,
        database: Database,
        clock: Clock,
        timeout_s: float,
    ) -> None:
        self._appservices = appservices
        self._requests = requests
        self._database = database
        self._clock = clock
        self._timeout_s = timeout_s
        # When a name was last denied: whoever asks again at once gets the same answer.
        self._denied: BoundedCache[str, float] = BoundedCache("appservice_queries", 10_000)
        self._asking: set[str] = set()

    async def make_user(self, user_id: str) -> bool:
        """Whether a service has just made a user. No answer counts as a no."""
        owners = [one for one in self._appservices.all() if one.url is not None and one.owns(user_id)]
        if not owners or not is_new_localpart(localpart_of(user_id)):
            return False
        try:
            return await self._ask_once(owners, f"/users/{quote(user_id, safe='')}", user_id)
        except RemoteTimeout:
            return False

    async def expect_user(self, user_id: str) -> None:
        """A user is about to be invited: have them made, if they are a service's and not there."""
        if not any(one.owns(user_id) for one in self._appservices.all()):
            return
        if await self._database.read(find_user, user_id) is None:
            await self.make_user(user_id)

    async def make_alias(self, alias: str) -> bool:
        """Whether a service has just made a room of this alias. M_UNKNOWN (408) if one takes too long to say."""
        owners = [one for one in self._appservices.all() if one.url is not None and one.has_alias(alias)]
        if not owners:
            return False
        try:
            return await self._ask_once(owners, f"/rooms/{quote(alias, safe='')}", alias)
        except RemoteTimeout:
            raise unknown("The application service that may know this alias did not answer in time.", 408) from None

    def check_alias(self, alias: str, appservice_id: str | None) -> None:
        self._appservices.check_alias(alias, appservice_id)

    def manages_alias(self, alias: str, appservice_id: str | None) -> bool:
        return self._appservices.manages_alias(alias, appservice_id)

    async def _ask_once(self, owners: Iterable[Appservice], path: str, name: str) -> bool:
        denied = self._denied.find(name)
        if denied is not None and self._clock.monotonic() - denied < _NOT_AGAIN_FOR_S:
            return False
        if name in self._asking:
            # The service itself may look while it makes what it was asked for.
            return False
        self._asking.add(name)
        try:
            for owner in owners:
                if await self._ask(owner, path):
                    return True
        finally:
            self._asking.discard(name)
        self._denied.put(name, self._clock.monotonic())
        return False

    async def _ask(self, owner: Appservice, path: str) -> bool:
        for attempt in range(_ATTEMPTS):
            try:
                answer = await self._requests.ask(owner, "GET", path, timeout_s=self._timeout_s)
            except RemoteTimeout:
                if attempt == _ATTEMPTS - 1:
                    raise
            except RemoteFailure as failure:
                _log.info("application service was not asked", appservice=owner.id, problem=str(failure))
                return False
            else:
                return answer.status == 200
        return False
