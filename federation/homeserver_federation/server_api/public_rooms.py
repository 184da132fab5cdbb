"""`/publicRooms`: this server's room directory, for other servers where the settings allow it.

Spec: server-server-api #public-room-directory
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from homeserver.protocol.errors import JsonValue, forbidden
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver_federation.paths import v1

if TYPE_CHECKING:
    from homeserver.services.rooms.aliases import RoomDirectory, RoomSummary


class _Filter(msgspec.Struct):
    generic_search_term: str | None = None
    room_types: list[str | None] | None = None


class _QueryBody(msgspec.Struct):
    limit: int | None = None
    since: str | None = None
    filter: _Filter | None = None


class PublicRoomsApi:
    """`shared`: whether other servers may read the directory."""

    def __init__(self, directory: RoomDirectory, *, shared: bool) -> None:
        self._directory = directory
        self._shared = shared

    @endpoint("GET", v1("/publicRooms"), auth=Auth.SERVER, operation="getPublicRooms", limit="federation")
    async def get_public_rooms(self, request: Request, origin: str) -> JsonValue:
        limit = request.query_int("limit", minimum=0)
        return await self._page(limit, request.find_query("since"), _Filter())

    @endpoint(
        "POST", v1("/publicRooms"), auth=Auth.SERVER, operation="queryPublicRooms", limit="federation", body=_QueryBody
    )
    async def query_public_rooms(self, request: Request, origin: str, body: _QueryBody) -> JsonValue:
        return await self._page(body.limit, body.since, body.filter or _Filter())

    async def _page(self, limit: int | None, since: str | None, wanted: _Filter) -> dict[str, Any]:
        if not self._shared:
            raise forbidden("This server does not show its room directory to other servers.")
        page = await self._directory.published(
            limit=limit, since=since, term=wanted.generic_search_term, room_types=wanted.room_types
        )
        answer: dict[str, Any] = {
            "chunk": [_shown(summary) for summary in page.rooms],
            "total_room_count_estimate": page.total,
        }
        if page.next_batch is not None:
            answer["next_batch"] = page.next_batch
        return answer


def _shown(room: RoomSummary) -> dict[str, Any]:
    optional = {
        "name": room.name,
        "topic": room.topic,
        "avatar_url": room.avatar_url,
        "canonical_alias": room.canonical_alias,
        "join_rule": room.join_rule,
        "room_type": room.room_type,
    }
    return {
        "room_id": room.room_id,
        **{key: value for key, value in optional.items() if value is not None},
        "num_joined_members": room.joined_members,
        "guest_can_join": room.guest_access == "can_join",
        "world_readable": room.history_visibility == "world_readable",
    }
