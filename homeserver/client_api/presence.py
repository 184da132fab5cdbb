"""Presence over HTTP.

Spec: client-server-api #presence
"""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.client_api.paths import v3
from homeserver.services.presence import Presence
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester


class PresenceBody(msgspec.Struct):
    """What a user says of themselves."""

    presence: str
    status_msg: str | None = None


class PresenceApi:
    """The endpoints of presence."""

    def __init__(self, presence: Presence) -> None:
        self._presence = presence

    @endpoint(
        "PUT",
        v3("/presence/{userId}/status"),
        auth=Auth.GUEST_OK,
        operation="setPresence",
        limit="presence",
        body=PresenceBody,
    )
    async def set_presence(self, request: Request, requester: Requester, body: PresenceBody) -> dict[str, Any]:
        await self._presence.set(requester.user_id, request.path["userId"], body.presence, body.status_msg)
        return {}

    @endpoint("GET", v3("/presence/{userId}/status"), auth=Auth.GUEST_OK, operation="getPresence")
    async def get_presence(self, request: Request, requester: Requester) -> dict[str, Any]:
        return await self._presence.get(requester.user_id, request.path["userId"])
