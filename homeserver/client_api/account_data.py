"""`/user/{userId}/account_data`: what clients keep on the server.

Spec: client-server-api #client-config
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homeserver.client_api.paths import v3
from homeserver.protocol.errors import JsonValue, forbidden
from homeserver.protocol.identifiers import check_room_id
from homeserver.web.endpoint import endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

if TYPE_CHECKING:
    from homeserver.services.account_data import AccountData

_GLOBAL = "/user/{userId}/account_data/{type}"
_ROOM = "/user/{userId}/rooms/{roomId}/account_data/{type}"
_UNSTABLE = "/_matrix/client/unstable/org.matrix.msc3391"


class AccountDataApi:
    def __init__(self, account_data: AccountData) -> None:
        self._account_data = account_data

    @endpoint("PUT", v3(_GLOBAL), operation="setAccountData", body=dict)
    async def set_account_data(self, request: Request, requester: Requester, body: dict[str, Any]) -> JsonValue:
        await self._account_data.put(own_user_id(request, requester), request.path["type"], body)
        return {}

    @endpoint("GET", v3(_GLOBAL), operation="getAccountData")
    async def get_account_data(self, request: Request, requester: Requester) -> JsonValue:
        return await self._account_data.get(own_user_id(request, requester), request.path["type"])

    @endpoint("DELETE", _UNSTABLE + _GLOBAL)
    async def delete_account_data(self, request: Request, requester: Requester) -> JsonValue:
        await self._account_data.delete(own_user_id(request, requester), request.path["type"])
        return {}

    @endpoint("PUT", v3(_ROOM), operation="setAccountDataPerRoom", body=dict)
    async def set_room_account_data(self, request: Request, requester: Requester, body: dict[str, Any]) -> JsonValue:
        user_id, room_id = own_user_id(request, requester), check_room_id(request.path["roomId"])
        await self._account_data.put_in_room(user_id, room_id, request.path["type"], body)
        return {}

    @endpoint("GET", v3(_ROOM), operation="getAccountDataPerRoom")
    async def get_room_account_data(self, request: Request, requester: Requester) -> JsonValue:
        user_id, room_id = own_user_id(request, requester), check_room_id(request.path["roomId"])
        return await self._account_data.get_in_room(user_id, room_id, request.path["type"])

    @endpoint("DELETE", _UNSTABLE + _ROOM)
    async def delete_room_account_data(self, request: Request, requester: Requester) -> JsonValue:
        user_id, room_id = own_user_id(request, requester), check_room_id(request.path["roomId"])
        await self._account_data.delete_in_room(user_id, room_id, request.path["type"])
        return {}


def own_user_id(request: Request, requester: Requester) -> str:
    """The user in the path, who must be the requester; M_FORBIDDEN."""
    if request.path["userId"] != requester.user_id:
        raise forbidden("This belongs to another user.")
    return requester.user_id
