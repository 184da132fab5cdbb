"""`/query`: profiles of our users, and where our aliases lead.

Spec: server-server-api #querying-for-information
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from homeserver.protocol.errors import JsonValue, forbidden, invalid_param, unrecognized
from homeserver.protocol.identifiers import check_room_alias, check_user_id, server_name_of
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver_federation.paths import v1

if TYPE_CHECKING:
    from homeserver.services.profiles import Profiles
    from homeserver.services.rooms.aliases import RoomDirectory


class QueryApi:
    """`profile_lookups`: whether other servers may ask for profiles."""

    def __init__(
        self, server_name: str, directory: RoomDirectory, profiles: Profiles, *, profile_lookups: bool
    ) -> None:
        self._server_name = server_name
        self._directory = directory
        self._profiles = profiles
        self._profile_lookups = profile_lookups

    @endpoint("GET", v1("/query/directory"), auth=Auth.SERVER, operation="queryRoomDirectory", limit="federation")
    async def query_room_directory(self, request: Request, origin: str) -> JsonValue:
        alias = check_room_alias(request.query_str("room_alias"))
        if server_name_of(alias) != self._server_name:
            raise invalid_param("This alias is of another server.")
        found = await self._directory.find(alias)
        return {"room_id": found.room_id, "servers": list(found.servers)}

    @endpoint("GET", v1("/query/profile"), auth=Auth.SERVER, operation="queryProfile", limit="federation")
    async def query_profile(self, request: Request, origin: str) -> JsonValue:
        if not self._profile_lookups:
            raise forbidden("This server does not show profiles to other servers.")
        user_id = check_user_id(request.query_str("user_id"))
        if server_name_of(user_id) != self._server_name:
            raise invalid_param("This user is of another server.")
        field = request.find_query("field")
        if field is None:
            return await self._profiles.fetch(user_id)
        return await self._profiles.fetch_field(user_id, field)

    @endpoint("GET", v1("/query/{queryType}"), auth=Auth.SERVER, operation="queryInfo", limit="federation")
    async def query_info(self, request: Request, origin: str) -> JsonValue:
        raise unrecognized("This server does not know this kind of query.")
