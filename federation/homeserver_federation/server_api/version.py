"""`/version`: what this server runs.

Spec: server-server-api #server-implementation
"""

from __future__ import annotations

from homeserver.protocol.errors import JsonValue
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver_federation.paths import v1


class VersionApi:
    """`version` is that of the software."""

    def __init__(self, version: str) -> None:
        self._version = version

    @endpoint("GET", v1("/version"), auth=Auth.NONE, operation="getVersion")
    async def get_version(self, request: Request) -> JsonValue:
        return {"server": {"name": "Starling", "version": self._version}}
