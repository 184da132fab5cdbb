"""`/sendToDevice`: messages to single devices.

Spec: client-server-api #send-to-device-messaging
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from homeserver.client_api.paths import v3
from homeserver.protocol.errors import JsonValue
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

if TYPE_CHECKING:
    from homeserver.services.devices.to_device import ToDevice


class _MessagesBody(msgspec.Struct):
    messages: dict[str, dict[str, dict[str, Any]]]


class ToDeviceApi:
    def __init__(self, to_device: ToDevice) -> None:
        self._to_device = to_device

    @endpoint(
        "PUT",
        v3("/sendToDevice/{eventType}/{txnId}"),
        auth=Auth.GUEST_OK,
        operation="sendToDevice",
        limit="to_device",
        body=_MessagesBody,
    )
    async def send_to_device(self, request: Request, requester: Requester, body: _MessagesBody) -> JsonValue:
        path = request.path
        await self._to_device.send(
            requester.user_id, requester.device_id, path["eventType"], path["txnId"], body.messages
        )
        return {}
