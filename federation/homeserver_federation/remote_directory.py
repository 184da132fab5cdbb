"""Aliases and room directories of other servers, for whoever implements the core's `RemoteServers`.

Spec: server-server-api #public-room-directory, #querying-for-information
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from homeserver.protocol.errors import MatrixError
from homeserver.protocol.identifiers import is_room_id, is_server_name, server_name_of
from homeserver.services.remote_servers import RemoteAlias
from homeserver_federation.client import federation_path
from homeserver_federation.errors import FederationError, RemoteServerError

if TYPE_CHECKING:
    from homeserver_federation.client import FederationClient

_TIMEOUT_MS = 20_000
_MOST_BYTES = 10 * 1024 * 1024
_MOST_SERVERS = 50


class RemoteDirectory:
    """Asks the servers that aliases and directories are of."""

    def __init__(self, client: FederationClient) -> None:
        self._client = client

    async def find_alias(self, alias: str) -> RemoteAlias | None:
        """What an alias of another server points at; None if its server knows none. Raises MatrixError."""
        server_name = server_name_of(alias)
        path = federation_path("v1", "query", "directory")
        try:
            answer = await self._client.get(
                server_name, path, {"room_alias": alias}, timeout_ms=_TIMEOUT_MS, max_bytes=_MOST_BYTES
            )
        except RemoteServerError as error:
            if error.status == 404:
                return None
            raise error.as_matrix_error() from error
        except FederationError as error:
            raise error.as_matrix_error() from error
        room_id = answer.get("room_id") if isinstance(answer, dict) else None
        servers = answer.get("servers") if isinstance(answer, dict) else None
        if not isinstance(room_id, str) or not is_room_id(room_id):
            return None
        named = (
            [name for name in servers if isinstance(name, str) and is_server_name(name)]
            if isinstance(servers, list)
            else []
        )
        return RemoteAlias(room_id, tuple(dict.fromkeys(named[:_MOST_SERVERS])) or (server_name,))

    async def fetch_public_rooms(self, server_name: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """A page of another server's directory. `request` is the body a client may send. Raises MatrixError."""
        if not is_server_name(server_name):
            raise MatrixError("M_INVALID_PARAM", "This is not the name of a server.", 400)
        try:
            answer = await self._client.post(
                server_name,
                federation_path("v1", "publicRooms"),
                {key: value for key, value in request.items() if value is not None},
                timeout_ms=_TIMEOUT_MS,
                max_bytes=_MOST_BYTES,
            )
        except FederationError as error:
            raise error.as_matrix_error() from error
        if not isinstance(answer, dict) or not isinstance(answer.get("chunk"), list):
            raise MatrixError("M_UNKNOWN", f"{server_name} answered with nonsense.", 502)
        return answer
