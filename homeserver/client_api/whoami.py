"""`/account/whoami`: whose access token this is.

Spec: client-server-api #current-account-information
"""

from __future__ import annotations

from homeserver.client_api.paths import v3
from homeserver.protocol.errors import JsonValue
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester


class WhoamiApi:
    @endpoint("GET", v3("/account/whoami"), auth=Auth.GUEST_OK, operation="getTokenOwner")
    async def get_token_owner(self, request: Request, requester: Requester) -> JsonValue:
        answer: dict[str, JsonValue] = {"user_id": requester.user_id, "is_guest": requester.is_guest}
        if requester.device_id is not None:
            answer["device_id"] = requester.device_id
        return answer
