"""`/hierarchy`.

Spec: server-server-api #spaces
"""

from __future__ import annotations

from homeserver.protocol.errors import JsonValue
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver_federation.paths import v1
from homeserver_federation.rooms.serve_hierarchy import ServeHierarchy


class SpaceHierarchyApi:
    def __init__(self, spaces: ServeHierarchy) -> None:
        self._spaces = spaces

    @endpoint("GET", v1("/hierarchy/{roomId}"), auth=Auth.SERVER, operation="getSpaceHierarchy", limit="federation")
    async def get_space_hierarchy(self, request: Request, origin: str) -> JsonValue:
        return await self._spaces.hierarchy(
            origin, request.path["roomId"], suggested_only=request.query_bool("suggested_only")
        )
