"""Implements the core's `RemoteProfiles`: profiles of other servers' users.

Spec: server-server-api #get_matrixfederationv1queryprofile
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import structlog

from homeserver.protocol.identifiers import is_user_id, server_name_of
from homeserver_federation.client import federation_path
from homeserver_federation.errors import FederationError

if TYPE_CHECKING:
    from homeserver_federation.client import FederationClient

_log = structlog.get_logger("homeserver.federation.profiles")
_TIMEOUT_MS = 15_000
_MOST_BYTES = 262_144


class FederatedProfiles:
    """Asks the users' own servers."""

    def __init__(self, client: FederationClient) -> None:
        self._client = client

    async def fetch_profile(self, user_id: str, field: str | None = None) -> Mapping[str, Any] | None:
        """The profile or one field of it, without what is null; None if there is none or no answer."""
        if not is_user_id(user_id):
            return None
        query = {"user_id": user_id} if field is None else {"user_id": user_id, "field": field}
        try:
            answer = await self._client.get(
                server_name_of(user_id),
                federation_path("v1", "query", "profile"),
                query,
                timeout_ms=_TIMEOUT_MS,
                max_bytes=_MOST_BYTES,
            )
        except FederationError as error:
            _log.debug("no profile", user=user_id, reason=str(error))
            return None
        if not isinstance(answer, dict):
            return None
        return {key: value for key, value in answer.items() if value is not None and field in (None, key)}
