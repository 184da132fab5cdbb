"""`/user/{userId}/filter`: stored sync filters.

Spec: client-server-api #filtering
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homeserver.client_api.account_data import own_user_id
from homeserver.client_api.paths import v3
from homeserver.protocol.errors import JsonValue
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

if TYPE_CHECKING:
    from homeserver.services.filters import Filters


class FilterApi:
    def __init__(self, filters: Filters) -> None:
        self._filters = filters

    @endpoint("POST", v3("/user/{userId}/filter"), auth=Auth.GUEST_OK, operation="defineFilter", body=dict)
    async def define_filter(self, request: Request, requester: Requester, body: dict[str, Any]) -> JsonValue:
        return {"filter_id": await self._filters.create(own_user_id(request, requester), body)}

    @endpoint("GET", v3("/user/{userId}/filter/{filterId}"), auth=Auth.GUEST_OK, operation="getFilter")
    async def get_filter(self, request: Request, requester: Requester) -> JsonValue:
        return await self._filters.get_definition(own_user_id(request, requester), request.path["filterId"])
