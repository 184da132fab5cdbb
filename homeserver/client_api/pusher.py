"""`/pushers`: where a user's devices want to be notified.

Spec: client-server-api #push-notifications
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homeserver.client_api.paths import v3
from homeserver.protocol.errors import JsonValue
from homeserver.web.endpoint import endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

if TYPE_CHECKING:
    from homeserver.services.push.pushers import Pushers


class PusherApi:
    def __init__(self, pushers: Pushers) -> None:
        self._pushers = pushers

    @endpoint("GET", v3("/pushers"), operation="getPushers")
    async def get_pushers(self, request: Request, requester: Requester) -> JsonValue:
        return {"pushers": await self._pushers.of_user(requester.user_id)}

    @endpoint("POST", v3("/pushers/set"), operation="postPusher", limit="account", body=dict)
    async def post_pusher(self, request: Request, requester: Requester, body: dict[str, Any]) -> JsonValue:
        await self._pushers.set(requester.user_id, requester.device_id, body)
        return {}
