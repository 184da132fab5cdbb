"""Look-ups in networks that bridges connect: none while there are no application services.

Spec: client-server-api #third-party-lookups
"""

from __future__ import annotations

from typing import Any

from homeserver.client_api.paths import v3
from homeserver.protocol.errors import not_found
from homeserver.web.endpoint import endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester


class ThirdPartyLookupApi:
    """A server without bridges knows no protocol, and so no place or user of one."""

    @endpoint("GET", v3("/thirdparty/protocols"), operation="getProtocols")
    async def protocols(self, request: Request, requester: Requester) -> dict[str, Any]:
        return {}

    @endpoint("GET", v3("/thirdparty/protocol/{protocol}"), operation="getProtocolMetadata")
    @endpoint("GET", v3("/thirdparty/location/{protocol}"), operation="queryLocationByProtocol")
    @endpoint("GET", v3("/thirdparty/user/{protocol}"), operation="queryUserByProtocol")
    async def by_protocol(self, request: Request, requester: Requester) -> dict[str, Any]:
        raise not_found("No bridge to this network is connected here.")

    @endpoint("GET", v3("/thirdparty/location"), operation="queryLocationByAlias")
    @endpoint("GET", v3("/thirdparty/user"), operation="queryUserByID")
    async def by_id(self, request: Request, requester: Requester) -> list[Any]:
        return []
