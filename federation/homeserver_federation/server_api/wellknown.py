"""`/.well-known/matrix/server`: where other servers find this one.

Spec: server-server-api #getwell-knownmatrixserver
"""

from __future__ import annotations

from homeserver.protocol.errors import JsonValue, not_found
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request


class WellknownApi:
    """`delegate_to` is None for a server that is where its name says; then there is no such file."""

    def __init__(self, delegate_to: str | None) -> None:
        self._delegate_to = delegate_to

    @endpoint("GET", "/.well-known/matrix/server", auth=Auth.NONE, operation="getWellKnown")
    async def get_wellknown(self, request: Request) -> JsonValue:
        if self._delegate_to is None:
            raise not_found("This server is found by its name.")
        return {"m.server": self._delegate_to}
