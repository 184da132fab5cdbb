"""Receipts, read markers and typing over HTTP.

Spec: client-server-api #receipts, #fully-read-markers, #typing-notifications
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from homeserver.client_api.paths import v3
from homeserver.protocol.errors import forbidden, invalid_param
from homeserver.services.receipts import READ, READ_PRIVATE, Receipts
from homeserver.services.typing import Typing
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

FULLY_READ = "m.fully_read"
_DEFAULT_TYPING_MS = 30_000


class FullyRead(Protocol):
    """Keeps the fully-read marker, which is account data of the room."""

    async def set_fully_read(self, user_id: str, room_id: str, event_id: str) -> None: ...


class ReceiptBody(msgspec.Struct):
    """Which thread a receipt is for."""

    thread_id: str | msgspec.UnsetType = msgspec.UNSET


class ReadMarkersBody(msgspec.Struct):
    """Several markers at once."""

    fully_read: str | None = msgspec.field(default=None, name="m.fully_read")
    read: str | None = msgspec.field(default=None, name="m.read")
    read_private: str | None = msgspec.field(default=None, name="m.read.private")


class TypingBody(msgspec.Struct):
    """Whether a user types, and for how long that holds."""

    typing: bool
    timeout: int = _DEFAULT_TYPING_MS


class ReceiptsApi:
    """The endpoints that say what has been read and who types."""

    def __init__(self, receipts: Receipts, markers: FullyRead, typing: Typing) -> None:
        self._receipts = receipts
        self._markers = markers
        self._typing = typing

    @endpoint(
        "POST",
        v3("/rooms/{roomId}/receipt/{receiptType}/{eventId}"),
        auth=Auth.GUEST_OK,
        operation="postReceipt",
        body=ReceiptBody,
        optional_body=True,
    )
    async def post_receipt(self, request: Request, requester: Requester, body: ReceiptBody) -> dict[str, Any]:
        path = request.path
        kind = path["receiptType"]
        thread_id = None if body.thread_id is msgspec.UNSET else body.thread_id
        if kind == FULLY_READ:
            if thread_id is not None:
                raise invalid_param("The fully-read marker belongs to no thread.")
            await self._markers.set_fully_read(requester.user_id, path["roomId"], path["eventId"])
        else:
            await self._receipts.move(requester.user_id, path["roomId"], kind, path["eventId"], thread_id)
        return {}

    @endpoint(
        "POST",
        v3("/rooms/{roomId}/read_markers"),
        auth=Auth.GUEST_OK,
        operation="setReadMarker",
        body=ReadMarkersBody,
    )
    async def set_read_markers(self, request: Request, requester: Requester, body: ReadMarkersBody) -> dict[str, Any]:
        room_id = request.path["roomId"]
        if body.fully_read is not None:
            await self._markers.set_fully_read(requester.user_id, room_id, body.fully_read)
        for kind, event_id in ((READ, body.read), (READ_PRIVATE, body.read_private)):
            if event_id is not None:
                await self._receipts.move(requester.user_id, room_id, kind, event_id)
        return {}

    @endpoint(
        "PUT",
        v3("/rooms/{roomId}/typing/{userId}"),
        auth=Auth.GUEST_OK,
        operation="setTyping",
        body=TypingBody,
    )
    async def set_typing(self, request: Request, requester: Requester, body: TypingBody) -> dict[str, Any]:
        if request.path["userId"] != requester.user_id:
            raise forbidden("You can only say of yourself that you are typing.")
        await self._typing.set(requester.user_id, request.path["roomId"], body.typing, body.timeout)
        return {}
