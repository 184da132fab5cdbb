"""`/.well-known/matrix/client`: where clients find this server.

Spec: client-server-api #well-known-uris
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeserver.protocol.errors import JsonValue, not_found
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request


def client_well_known(public_baseurl: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The content of `/.well-known/matrix/client`; `extra` may replace what is there by default."""
    return {"m.homeserver": {"base_url": public_baseurl}, **extra}


class WellknownApi:
    """`content` None: not served."""

    def __init__(self, content: Mapping[str, Any] | None) -> None:
        self._content = None if content is None else dict(content)

    @endpoint("GET", "/.well-known/matrix/client", auth=Auth.NONE, operation="getWellknown")
    async def get_wellknown(self, request: Request) -> JsonValue:
        if self._content is None:
            raise not_found("This server has no discovery information.")
        return self._content
