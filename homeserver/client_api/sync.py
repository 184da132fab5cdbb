"""`GET /sync`.

Spec: client-server-api #syncing
"""

from __future__ import annotations

from typing import Any

from homeserver.client_api.paths import v3
from homeserver.protocol.sync_filters import Filter
from homeserver.services.filters import Filters
from homeserver.services.sync.request import SyncRequest
from homeserver.services.sync.sync import Sync
from homeserver.services.tokens import parse_sync_token
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

_PRESENCES = ("online", "unavailable", "offline")
_EVERYTHING = Filter()


class SyncApi:
    """The endpoint clients live on."""

    def __init__(self, sync: Sync, filters: Filters) -> None:
        self._sync = sync
        self._filters = filters

    @endpoint("GET", v3("/sync"), auth=Auth.GUEST_OK, operation="sync")
    async def sync(self, request: Request, requester: Requester) -> dict[str, Any]:
        since, text = request.find_query("since"), request.find_query("filter")
        presence = request.find_query("set_presence")
        if presence is not None:
            presence = request.query_choice("set_presence", _PRESENCES, "online")
        wanted = SyncRequest(
            user_id=requester.user_id,
            device_id=requester.device_id,
            since=parse_sync_token(since) if since else None,
            filter=await self._filters.get_or_parse(requester.user_id, text) if text else _EVERYTHING,
            timeout_ms=request.query_int("timeout", 0, minimum=0, maximum=300_000),
            full_state=request.query_bool("full_state"),
            set_presence=presence or "online",
            use_state_after=request.query_bool("use_state_after")
            or request.query_bool("org.matrix.msc4222.use_state_after"),
        )
        return await self._sync.sync(wanted)
