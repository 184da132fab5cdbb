"""`/send`: transactions of events and ephemeral data.

Spec: server-server-api #transactions
"""

from __future__ import annotations

from typing import Any

from homeserver.protocol.errors import JsonValue
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver_federation.inbound.receive_transaction import ReceiveTransaction
from homeserver_federation.paths import v1

# 50 PDUs and 100 EDUs of 64 KiB each, and what is around them.
_MOST_BYTES = 12 * 1024 * 1024


class TransactionsApi:
    def __init__(self, receive: ReceiveTransaction) -> None:
        self._receive = receive

    @endpoint(
        "PUT",
        v1("/send/{txnId}"),
        auth=Auth.SERVER,
        operation="sendTransaction",
        limit="federation",
        body=dict,
        max_body_bytes=_MOST_BYTES,
    )
    async def send_transaction(self, request: Request, origin: str, body: dict[str, Any]) -> JsonValue:
        return await self._receive.receive(origin, request.path["txnId"], body)
