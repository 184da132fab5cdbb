"""Summaries of rooms, the tree of a space, and the rooms two users share.

Spec: client-server-api #room-summaries, #spaces, #mutual-rooms
"""

from __future__ import annotations

from typing import Any

from homeserver.client_api.paths import v1
from homeserver.protocol.errors import invalid_param
from homeserver.protocol.identifiers import is_room_alias, is_room_id
from homeserver.services.rooms.read_room import ReadRoom
from homeserver.services.rooms.space_tree import SpaceTree
from homeserver.services.rooms.summaries import RoomSummaries
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

_PAGE = 100
_MOST_SERVERS = 10


class RoomSummaryApi:
    def __init__(self, summaries: RoomSummaries, tree: SpaceTree, rooms: ReadRoom) -> None:
        self._summaries = summaries
        self._tree = tree
        self._rooms = rooms

    @endpoint(
        "GET",
        [
            *v1("/room_summary/{roomIdOrAlias}"),
            "/_matrix/client/unstable/im.nheko.summary/summary/{roomIdOrAlias}",
            "/_matrix/client/unstable/im.nheko.summary/rooms/{roomIdOrAlias}/summary",
        ],
        auth=Auth.OPTIONAL,
        operation="getRoomSummary",
        limit="directory",
    )
    async def room_summary(self, request: Request, requester: Requester | None) -> dict[str, Any]:
        wanted = request.path["roomIdOrAlias"]
        if not is_room_id(wanted) and not is_room_alias(wanted):
            raise invalid_param(f"{wanted!r} is neither a room id nor a room alias.")
        via = request.query_list("via")[:_MOST_SERVERS]
        return await self._summaries.summary(requester.user_id if requester is not None else None, wanted, via)

    @endpoint(
        "GET",
        [*v1("/rooms/{roomId}/hierarchy"), "/_matrix/client/unstable/org.matrix.msc2946/rooms/{roomId}/hierarchy"],
        auth=Auth.GUEST_OK,
        operation="getSpaceHierarchy",
    )
    async def hierarchy(self, request: Request, requester: Requester) -> dict[str, Any]:
        page = await self._tree.page(
            requester.user_id,
            request.path["roomId"],
            suggested_only=request.query_bool("suggested_only"),
            max_depth=request.query_int("max_depth", minimum=0),
            limit=request.query_int("limit", 20, minimum=1),
            start=request.find_query("from"),
        )
        body: dict[str, Any] = {"rooms": list(page.rooms)}
        if page.next_batch is not None:
            body["next_batch"] = page.next_batch
        return body

    @endpoint(
        "GET",
        [
            *v1("/mutual_rooms"),
            "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms",
        ],
        operation="getMutualRooms",
    )
    async def mutual_rooms(self, request: Request, requester: Requester) -> dict[str, Any]:
        rooms = await self._rooms.mutual_rooms(requester.user_id, request.query_str("user_id"))
        skipped = request.query_int("from", 0, minimum=0)
        body: dict[str, Any] = {"joined": rooms[skipped : skipped + _PAGE], "count": len(rooms)}
        if len(rooms) > skipped + _PAGE:
            body["next_batch"] = str(skipped + _PAGE)
        return body
