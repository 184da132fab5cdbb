"""`/_matrix/key/v2/server`: this server's signing keys.

Spec: server-server-api #publishing-keys
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from homeserver.protocol.errors import JsonValue
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver_federation.key_answers import OwnKeys


class KeysServerApi:
    """Old servers name a key in the path; they get all of them too."""

    def __init__(self, own: OwnKeys, clock: Clock) -> None:
        self._own = own
        self._clock = clock

    @endpoint(
        "GET",
        ["/_matrix/key/v2/server", "/_matrix/key/v2/server/", "/_matrix/key/v2/server/{keyId}"],
        auth=Auth.NONE,
        operation="getServerKey",
    )
    async def get_server_key(self, request: Request) -> JsonValue:
        return self._own.answer(self._clock.now_ms())
