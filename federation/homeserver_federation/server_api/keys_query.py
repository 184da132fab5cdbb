"""`/_matrix/key/v2/query`: this server as a notary of other servers' keys.

Spec: server-server-api #querying-keys-through-another-server
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from homeserver.protocol.errors import JsonValue, invalid_param
from homeserver.protocol.identifiers import check_server_name
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver_federation.key_notary import MOST_SERVERS

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver_federation.key_notary import KeyNotary

_MOST_KEYS = 100


class _Criteria(msgspec.Struct):
    minimum_valid_until_ts: int | None = None


class _QueryBody(msgspec.Struct):
    server_keys: dict[str, dict[str, _Criteria]]


class KeysQueryApi:
    """Anybody may ask; questions that could be used to flood others are refused."""

    def __init__(self, notary: KeyNotary, clock: Clock) -> None:
        self._notary = notary
        self._clock = clock

    @endpoint(
        "GET",
        ["/_matrix/key/v2/query/{serverName}", "/_matrix/key/v2/query/{serverName}/{keyId}"],
        auth=Auth.NONE,
        operation="perspectivesKeyQuery",
        limit="federation",
    )
    async def query_one(self, request: Request) -> JsonValue:
        server_name = check_server_name(request.path["serverName"])
        minimum_ms = request.query_int("minimum_valid_until_ts")
        key_id = request.path.get("keyId")
        criteria = {} if key_id is None else {key_id: self._clock.now_ms() if minimum_ms is None else minimum_ms}
        return {"server_keys": await self._notary.answers({server_name: criteria}, minimum_ms)}

    @endpoint(
        "POST",
        "/_matrix/key/v2/query",
        auth=Auth.NONE,
        operation="bulkPerspectivesKeyQuery",
        limit="federation",
        body=_QueryBody,
    )
    async def query_many(self, request: Request, body: _QueryBody) -> JsonValue:
        if len(body.server_keys) > MOST_SERVERS or any(len(keys) > _MOST_KEYS for keys in body.server_keys.values()):
            raise invalid_param(f"At most {MOST_SERVERS} servers and {_MOST_KEYS} keys of each can be asked for.")
        now_ms = self._clock.now_ms()
        wanted = {
            check_server_name(server_name): {
                key_id: now_ms if one.minimum_valid_until_ts is None else one.minimum_valid_until_ts
                for key_id, one in criteria.items()
            }
            for server_name, criteria in body.server_keys.items()
        }
        return {"server_keys": await self._notary.answers(wanted)}
