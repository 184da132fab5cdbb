"""`/_starling/admin/v1/application_services`: administrators see, register and remove bridges while the server runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homeserver.protocol.errors import JsonValue
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

if TYPE_CHECKING:
    from homeserver.services.appservices.appservices import Appservices

_ALL = "/_starling/admin/v1/application_services"
_ONE = _ALL + "/{appserviceId}"
_RELOAD = "/_starling/admin/v1/reload_application_services"


class AdminApplicationServicesApi:
    def __init__(self, appservices: Appservices) -> None:
        self._appservices = appservices

    @endpoint("GET", _ALL, auth=Auth.ADMIN)
    async def list_all(self, request: Request, requester: Requester) -> dict[str, Any]:
        return {"application_services": self._appservices.describe()}

    @endpoint("GET", _ONE, auth=Auth.ADMIN)
    async def get_one(self, request: Request, requester: Requester) -> dict[str, Any]:
        return self._appservices.describe_one(request.path["appserviceId"])

    @endpoint("PUT", _ONE, auth=Auth.ADMIN, body=dict)
    async def register(self, request: Request, requester: Requester, body: dict[str, Any]) -> dict[str, Any]:
        """The body is a registration as bridges write it, in JSON."""
        appservice_id = request.path["appserviceId"]
        await self._appservices.register(appservice_id, body)
        return self._appservices.describe_one(appservice_id)

    @endpoint("DELETE", _ONE, auth=Auth.ADMIN)
    async def unregister(self, request: Request, requester: Requester) -> JsonValue:
        await self._appservices.unregister(request.path["appserviceId"])
        return {}

    @endpoint("POST", _RELOAD, auth=Auth.ADMIN)
    async def reload(self, request: Request, requester: Requester) -> dict[str, Any]:
        """Read the registration files again."""
        return {"changed": await self._appservices.reload()}
