"""`/user/{userId}/rooms/{roomId}/tags`: labels a user puts on rooms.

Spec: client-server-api #room-tagging
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homeserver.client_api.account_data import own_user_id
from homeserver.client_api.paths import v3
from homeserver.protocol.errors import JsonValue
from homeserver.protocol.identifiers import check_room_id
from homeserver.web.endpoint import endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

if TYPE_CHECKING:
    from homeserver.services.account_data import AccountData


class TagsApi:
    def __init__(self, account_data: AccountData) -> None:
        self._account_data = account_data

    @endpoint("GET", v3("/user/{userId}/rooms/{roomId}/tags"), operation="getRoomTags")
    async def get_room_tags(self, request: Request, requester: Requester) -> JsonValue:
        user_id, room_id = own_user_id(request, requester), check_room_id(request.path["roomId"])
        return {"tags": await self._account_data.tags(user_id, room_id)}

    @endpoint(
        "PUT", v3("/user/{userId}/rooms/{roomId}/tags/{tag}"), operation="setRoomTag", body=dict, optional_body=True
    )
    async def set_room_tag(self, request: Request, requester: Requester, body: dict[str, Any]) -> JsonValue:
        user_id, room_id = own_user_id(request, requester), check_room_id(request.path["roomId"])
        await self._account_data.put_tag(user_id, room_id, request.path["tag"], body)
        return {}

    @endpoint("DELETE", v3("/user/{userId}/rooms/{roomId}/tags/{tag}"), operation="deleteRoomTag")
    async def delete_room_tag(self, request: Request, requester: Requester) -> JsonValue:
        user_id, room_id = own_user_id(request, requester), check_room_id(request.path["roomId"])
        await self._account_data.delete_tag(user_id, room_id, request.path["tag"])
        return {}
