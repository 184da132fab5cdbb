"""Implements the core's `RemoteKeys`: keys of other servers' users.

Spec: server-server-api #end-to-end-encryption
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from homeserver.protocol.errors import MatrixError
from homeserver_federation.client import federation_path
from homeserver_federation.errors import FederationError

if TYPE_CHECKING:
    from homeserver_federation.client import FederationClient

_MOST_BYTES = 20 * 1024 * 1024


class FederatedKeys:
    """Asks the users' own servers."""

    def __init__(self, client: FederationClient) -> None:
        self._client = client

    async def query(
        self, server_name: str, device_keys: Mapping[str, Sequence[str]], timeout_ms: int
    ) -> Mapping[str, Any]:
        """What a server says of its users' devices. Raises MatrixError."""
        question = {"device_keys": {user_id: list(device_ids) for user_id, device_ids in device_keys.items()}}
        return await self._ask(server_name, "query", question, timeout_ms)

    async def claim(
        self, server_name: str, wanted: Mapping[str, Mapping[str, str]], timeout_ms: int
    ) -> Mapping[str, Any]:
        """One-time keys of a server's users. Raises MatrixError."""
        return await self._ask(server_name, "claim", {"one_time_keys": wanted}, timeout_ms)

    async def fetch_devices(self, server_name: str, user_id: str) -> Mapping[str, Any]:
        """The whole device list of a user: devices, stream_id, cross-signing keys. Raises FederationError."""
        answer = await self._client.get(
            server_name, federation_path("v1", "user", "devices", user_id), max_bytes=_MOST_BYTES
        )
        return answer if isinstance(answer, dict) else {}

    async def _ask(
        self, server_name: str, verb: str, question: Mapping[str, Any], timeout_ms: int
    ) -> Mapping[str, Any]:
        path = federation_path("v1", "user", "keys", verb)
        try:
            answer = await self._client.post(server_name, path, question, timeout_ms=timeout_ms, max_bytes=_MOST_BYTES)
        except FederationError as error:
            raise error.as_matrix_error() from error
        if not isinstance(answer, dict):
            raise MatrixError("M_UNKNOWN", f"{server_name} answered with nonsense.", 502)
        return answer
