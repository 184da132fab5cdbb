"""`/exchange_third_party_invite` and `/3pid/onbind`.

Spec: server-server-api #third-party-invites
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from homeserver.protocol.errors import JsonValue
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver_federation.paths import v1
from homeserver_federation.rooms.third_party_invites import ThirdPartyInvites


class BindBody(Struct):
    """An address that an identity server knows to be a local user's, and the invites that waited for that."""

    medium: str
    address: str
    mxid: str
    invites: list[Any]


class ThirdPartyInviteApi:
    def __init__(self, invites: ThirdPartyInvites) -> None:
        self._invites = invites

    @endpoint(
        "PUT",
        v1("/exchange_third_party_invite/{roomId}"),
        auth=Auth.SERVER,
        operation="exchangeThirdPartyInvite",
        limit="remote_join",
        body=dict,
    )
    async def exchange_third_party_invite(self, request: Request, origin: str, body: dict[str, Any]) -> JsonValue:
        await self._invites.exchange(origin, request.path["roomId"], body)
        return {}

    @endpoint(
        "PUT",
        v1("/3pid/onbind"),
        auth=Auth.NONE,
        operation="onBindThirdPartyIdentifier",
        limit="remote_join",
        body=BindBody,
    )
    async def on_bind_third_party_identifier(self, request: Request, body: BindBody) -> JsonValue:
        await self._invites.bind(body.mxid, body.invites)
        return {}
