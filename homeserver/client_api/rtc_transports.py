"""`/rtc/transports`: the media servers by which members of a group call reach each other.

Spec: MSC4143
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from homeserver.client_api.paths import unstable
from homeserver.protocol.errors import JsonValue
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester


class RtcTransportsApi:
    """Only served where there are any: without this endpoint clients look elsewhere."""

    def __init__(self, transports: Sequence[Mapping[str, Any]]) -> None:
        self._answer: JsonValue = {"rtc_transports": [dict(transport) for transport in transports]}

    @endpoint("GET", unstable("org.matrix.msc4143", "/rtc/transports"), auth=Auth.GUEST_OK)
    async def get_transports(self, request: Request, requester: Requester) -> JsonValue:
        return self._answer


def well_known_foci(transports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The same for clients that read /.well-known/matrix/client (MSC4158)."""
    return {"org.matrix.msc4143.rtc_foci": [dict(transport) for transport in transports]} if transports else {}
