"""`/.well-known/matrix/support`: whom to turn to.

Spec: client-server-api #getwell-knownmatrixsupport
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homeserver.protocol.errors import JsonValue, not_found
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request

if TYPE_CHECKING:
    from homeserver_config.sections.admin_contact import AdminContactSettings


class SupportApi:
    """`contact` None: not served."""

    def __init__(self, contact: AdminContactSettings | None) -> None:
        self._answer: dict[str, Any] = {}
        if contact is not None and contact.contacts:
            self._answer["contacts"] = [one.model_dump(exclude_none=True) for one in contact.contacts]
        if contact is not None and contact.support_page is not None:
            self._answer["support_page"] = contact.support_page

    @endpoint("GET", "/.well-known/matrix/support", auth=Auth.NONE, operation="getWellknownSupport")
    async def get_wellknown_support(self, request: Request) -> JsonValue:
        if not self._answer:
            raise not_found("This server names nobody to turn to.")
        return self._answer
