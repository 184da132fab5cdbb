"""Look-ups in the networks that bridges connect.

Spec: client-server-api #third-party-lookups
"""

from __future__ import annotations

from typing import Any

from homeserver.client_api.paths import v3
from homeserver.services.appservices.third_party import ThirdPartyLookups
from homeserver.web.endpoint import endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

# What the query holds beside the fields of a look-up.
_NO_FIELDS = frozenset({"access_token", "user_id", "device_id", "org.matrix.msc3202.device_id"})


class ThirdPartyLookupApi:
    def __init__(self, lookups: ThirdPartyLookups) -> None:
        self._lookups = lookups

    @endpoint("GET", v3("/thirdparty/protocols"), operation="getProtocols")
    async def protocols(self, request: Request, requester: Requester) -> dict[str, Any]:
        return await self._lookups.protocols()

    @endpoint("GET", v3("/thirdparty/protocol/{protocol}"), operation="getProtocolMetadata")
    async def protocol(self, request: Request, requester: Requester) -> dict[str, Any]:
        return await self._lookups.protocol(request.path["protocol"])

    @endpoint("GET", v3("/thirdparty/location/{protocol}"), operation="queryLocationByProtocol")
    async def locations(self, request: Request, requester: Requester) -> list[Any]:
        return await self._lookups.in_protocol("location", request.path["protocol"], _fields(request))

    @endpoint("GET", v3("/thirdparty/user/{protocol}"), operation="queryUserByProtocol")
    async def users(self, request: Request, requester: Requester) -> list[Any]:
        return await self._lookups.in_protocol("user", request.path["protocol"], _fields(request))

    @endpoint("GET", v3("/thirdparty/location"), operation="queryLocationByAlias")
    async def locations_of_alias(self, request: Request, requester: Requester) -> list[Any]:
        return await self._lookups.of_identifier("location", {"alias": request.query_str("alias")})

    @endpoint("GET", v3("/thirdparty/user"), operation="queryUserByID")
    async def users_of_id(self, request: Request, requester: Requester) -> list[Any]:
        return await self._lookups.of_identifier("user", {"userid": request.query_str("userid")})


def _fields(request: Request) -> dict[str, str]:
    return {name: value for name, value in request.query.items() if name not in _NO_FIELDS}
