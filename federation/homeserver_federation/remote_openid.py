"""Implements the core's `RemoteOpenIdUsers`: whose an OpenID token of another server is.

Spec: server-server-api #openid
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from homeserver.protocol.errors import unknown_token
from homeserver_federation.client import federation_path
from homeserver_federation.errors import FederationError, RemoteServerError

if TYPE_CHECKING:
    from homeserver_federation.client import FederationClient

_TIMEOUT_MS = 8_000
_MOST_BYTES = 16_384


class FederatedOpenIdUsers:
    """Asks the servers that made the tokens."""

    def __init__(self, client: FederationClient) -> None:
        self._client = client

    async def fetch_user(self, server_name: str, token: str) -> str:
        """What the server says, unchecked. M_UNKNOWN_TOKEN if it does not know the token, 502 if it is away."""
        try:
            answer = await self._client.get(
                server_name,
                federation_path("v1", "openid", "userinfo"),
                {"access_token": token},
                timeout_ms=_TIMEOUT_MS,
                max_bytes=_MOST_BYTES,
            )
        except RemoteServerError:
            raise unknown_token("This token is unknown or has expired.") from None
        except FederationError as error:
            raise error.as_matrix_error() from error
        return str(answer.get("sub", "")) if isinstance(answer, dict) else ""
