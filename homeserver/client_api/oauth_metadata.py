"""Discovery of the OAuth 2.0 API: `/auth_metadata`, the same for older clients, and as RFC 8414 wants it.

Spec: client-server-api #server-metadata-discovery
"""

from __future__ import annotations

from typing import Any

from homeserver.client_api.paths import v1
from homeserver.protocol.errors import JsonValue
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.responses import JsonBytes, json_answer

_UNSTABLE = "/_matrix/client/unstable/org.matrix.msc2965"
_CACHED = ((b"cache-control", b"public, max-age=600"),)


class OAuthMetadataApi:
    """`older` is the metadata for clients from before the endpoint was specified."""

    def __init__(self, metadata: dict[str, Any], older: dict[str, Any]) -> None:
        self._metadata = metadata
        self._older = older

    @endpoint("GET", v1("/auth_metadata"), auth=Auth.NONE, operation="getAuthMetadata")
    async def get_auth_metadata(self, request: Request) -> JsonBytes:
        return json_answer(self._metadata, headers=_CACHED)

    @endpoint(
        "GET",
        [
            f"{_UNSTABLE}/auth_metadata",
            "/.well-known/openid-configuration",
            "/.well-known/oauth-authorization-server",
        ],
        auth=Auth.NONE,
    )
    async def get_older_metadata(self, request: Request) -> JsonBytes:
        return json_answer(self._older, headers=_CACHED)

    @endpoint("GET", f"{_UNSTABLE}/auth_issuer", auth=Auth.NONE)
    async def get_auth_issuer(self, request: Request) -> JsonValue:
        return {"issuer": self._metadata["issuer"]}
