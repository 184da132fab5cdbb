"""Room aliases and the public room directory over HTTP.

Spec: client-server-api #room-aliases, #published-room-directory
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from homeserver.client_api.paths import v3
from homeserver.protocol.errors import missing_token
from homeserver.services.rooms.aliases import Network, RoomDirectory, RoomSummary
from homeserver.services.rooms.read_room import ReadRoom
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester


class AliasBody(msgspec.Struct):
    """What an alias is to point at."""

    room_id: str


class VisibilityBody(msgspec.Struct):
    """Whether a room is in the directory."""

    visibility: Literal["public", "private"] = "public"


class NetworkVisibilityBody(msgspec.Struct):
    """Whether a room is in the directory of a third-party network."""

    visibility: Literal["public", "private"]


class SearchFilter(msgspec.Struct):
    """What to search the directory for."""

    generic_search_term: str | None = None
    room_types: list[str | None] | None = None


class PublicRoomsBody(msgspec.Struct):
    """A search of the directory."""

    limit: int | None = None
    since: str | None = None
    filter: SearchFilter | None = None
    include_all_networks: bool = False
    third_party_instance_id: str | None = None


class DirectoryApi:
    """The endpoints of the room directory."""

    def __init__(self, directory: RoomDirectory, rooms: ReadRoom, *, needs_login: bool) -> None:
        self._directory = directory
        self._rooms = rooms
        self._needs_login = needs_login

    @endpoint("GET", v3("/directory/room/{roomAlias}"), auth=Auth.NONE, operation="getRoomIdByAlias")
    async def get_alias(self, request: Request) -> dict[str, Any]:
        found = await self._directory.find(request.path["roomAlias"])
        return {"room_id": found.room_id, "servers": list(found.servers)}

    @endpoint("PUT", v3("/directory/room/{roomAlias}"), operation="setRoomAlias", body=AliasBody)
    async def set_alias(self, request: Request, requester: Requester, body: AliasBody) -> dict[str, Any]:
        alias = request.path["roomAlias"]
        await self._directory.add(requester.user_id, alias, body.room_id, appservice_id=requester.appservice_id)
        return {}

    @endpoint("DELETE", v3("/directory/room/{roomAlias}"), operation="deleteRoomAlias")
    async def delete_alias(self, request: Request, requester: Requester) -> dict[str, Any]:
        await self._directory.remove(
            requester.user_id,
            request.path["roomAlias"],
            is_admin=requester.is_admin,
            appservice_id=requester.appservice_id,
        )
        return {}

    @endpoint(
        "GET",
        [*v3("/rooms/{roomId}/aliases"), "/_matrix/client/unstable/org.matrix.msc2432/rooms/{roomId}/aliases"],
        auth=Auth.GUEST_OK,
        operation="getLocalAliases",
    )
    async def local_aliases(self, request: Request, requester: Requester) -> dict[str, Any]:
        room_id = request.path["roomId"]
        await self._rooms.check_may_read(requester.user_id, room_id)
        return {"aliases": await self._directory.aliases_of(room_id)}

    @endpoint(
        "GET",
        v3("/directory/list/room/{roomId}"),
        auth=Auth.NONE,
        operation="getRoomVisibilityOnDirectory",
    )
    async def get_visibility(self, request: Request) -> dict[str, Any]:
        published = await self._directory.is_published(request.path["roomId"])
        return {"visibility": "public" if published else "private"}

    @endpoint(
        "PUT",
        v3("/directory/list/room/{roomId}"),
        operation="setRoomVisibilityOnDirectory",
        body=VisibilityBody,
        optional_body=True,
    )
    async def set_visibility(self, request: Request, requester: Requester, body: VisibilityBody) -> dict[str, Any]:
        await self._directory.publish(
            requester.user_id, request.path["roomId"], body.visibility == "public", is_admin=requester.is_admin
        )
        return {}

    @endpoint("GET", v3("/publicRooms"), auth=Auth.OPTIONAL, operation="getPublicRooms")
    async def public_rooms(self, request: Request, requester: Requester | None) -> Any:
        if requester is None and self._needs_login:
            raise missing_token()
        limit, since = request.query_int("limit", minimum=0), request.find_query("since")
        server = request.find_query("server")
        if not self._directory.is_local(server):
            wanted = {name: value for name, value in (("limit", limit), ("since", since)) if value is not None}
            return await self._directory.remote_published(server or "", wanted)
        network = _network(request.find_query("third_party_instance_id"))
        return await self._page(limit, since, None, network, all_networks=request.query_bool("include_all_networks"))

    @endpoint(
        "POST",
        v3("/publicRooms"),
        auth=Auth.GUEST_OK,
        operation="queryPublicRooms",
        limit="search",
        body=PublicRoomsBody,
        optional_body=True,
    )
    async def query_public_rooms(self, request: Request, requester: Requester, body: PublicRoomsBody) -> Any:
        server = request.find_query("server")
        if not self._directory.is_local(server):
            return await self._directory.remote_published(server or "", msgspec.to_builtins(body))
        network = _network(body.third_party_instance_id)
        return await self._page(body.limit, body.since, body.filter, network, all_networks=body.include_all_networks)

    @endpoint(
        "PUT",
        v3("/directory/list/appservice/{networkId}/{roomId}"),
        auth=Auth.APPSERVICE,
        operation="updateAppserviceRoomDirectoryVisibility",
        body=NetworkVisibilityBody,
    )
    async def set_network_visibility(
        self, request: Request, requester: Requester, body: NetworkVisibilityBody
    ) -> dict[str, Any]:
        network = Network(requester.appservice_id or "", request.path["networkId"])
        await self._directory.publish_in_network(network, request.path["roomId"], body.visibility == "public")
        return {}

    async def _page(
        self,
        limit: int | None,
        since: str | None,
        wanted: SearchFilter | None,
        network: Network | None = None,
        *,
        all_networks: bool = False,
    ) -> dict[str, Any]:
        page = await self._directory.published(
            limit=limit,
            since=since,
            term=wanted.generic_search_term if wanted is not None else None,
            room_types=wanted.room_types if wanted is not None else None,
            network=network,
            all_networks=all_networks,
        )
        body: dict[str, Any] = {
            "chunk": [published_room(summary) for summary in page.rooms],
            "total_room_count_estimate": page.total,
        }
        if page.next_batch is not None:
            body["next_batch"] = page.next_batch
        return body


def _network(instance_id: str | None) -> Network | None:
    """The network an `instance_id` of `/thirdparty/protocols` stands for."""
    if instance_id is None:
        return None
    appservice_id, _, network_id = instance_id.partition("|")
    return Network(appservice_id, network_id)


def published_room(summary: RoomSummary) -> dict[str, Any]:
    """A room as the directory shows it; what is not set is left out.

    Spec: client-server-api #get_matrixclientv3publicrooms
    """
    shown = {
        "room_id": summary.room_id,
        "name": summary.name,
        "topic": summary.topic,
        "avatar_url": summary.avatar_url,
        "canonical_alias": summary.canonical_alias,
        "join_rule": summary.join_rule,
        "room_type": summary.room_type,
    }
    return {
        **{key: value for key, value in shown.items() if value is not None},
        "num_joined_members": summary.joined_members,
        "guest_can_join": summary.guest_access == "can_join",
        "world_readable": summary.history_visibility == "world_readable",
    }
