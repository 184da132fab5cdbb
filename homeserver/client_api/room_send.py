"""Sending events: messages, state, redactions.

Spec: client-server-api #sending-events-to-a-room
"""

from __future__ import annotations

from typing import Any

from homeserver.client_api.paths import v3
from homeserver.services.accounts.tokens import check_not_suspended
from homeserver.services.delayed_events.delayed_events import DelayedEvents
from homeserver.services.rooms.append_event import SentTransaction
from homeserver.services.rooms.send_event import SendEvent
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester


class RoomSendApi:
    """The endpoints that write to a room."""

    def __init__(self, send: SendEvent, delayed: DelayedEvents) -> None:
        self._send = send
        self._delayed = delayed

    @endpoint(
        "PUT",
        v3("/rooms/{roomId}/send/{eventType}/{txnId}"),
        auth=Auth.GUEST_OK,
        operation="sendMessage",
        limit="message",
        body=dict,
    )
    async def send_message(self, request: Request, requester: Requester, body: dict[str, Any]) -> dict[str, Any]:
        check_not_suspended(requester)
        path = request.path
        scope = f"send/{path['roomId']}/{path['eventType']}"
        delay_ms = _delay(request)
        if delay_ms is not None:
            transaction = transaction_of(requester, scope, path["txnId"])
            return await self._schedule(request, requester, body, delay_ms, transaction)
        event_id = await self._send.send_message(
            requester.user_id,
            path["roomId"],
            path["eventType"],
            body,
            transaction_of(requester, scope, path["txnId"]),
            timestamp_ms=timestamp_of(request, requester),
        )
        return {"event_id": event_id}

    @endpoint("POST", v3("/rooms/{roomId}/send/{eventType}"), auth=Auth.GUEST_OK, limit="message", body=dict)
    async def send_once(self, request: Request, requester: Requester, body: dict[str, Any]) -> dict[str, Any]:
        """Older than transaction IDs, and still used by scripts: asking twice sends twice."""
        check_not_suspended(requester)
        path, timestamp_ms = request.path, timestamp_of(request, requester)
        delay_ms = _delay(request)
        if delay_ms is not None:
            return await self._schedule(request, requester, body, delay_ms, None)
        event_id = await self._send.send_message(
            requester.user_id, path["roomId"], path["eventType"], body, None, timestamp_ms=timestamp_ms
        )
        return {"event_id": event_id}

    @endpoint(
        "PUT",
        [
            *v3("/rooms/{roomId}/state/{eventType}/{stateKey}"),
            *v3("/rooms/{roomId}/state/{eventType}"),
            *v3("/rooms/{roomId}/state/{eventType}/"),
        ],
        operation="setRoomStateWithKey",
        limit="message",
        body=dict,
    )
    async def set_state(self, request: Request, requester: Requester, body: dict[str, Any]) -> dict[str, Any]:
        check_not_suspended(requester)
        path = request.path
        delay_ms = _delay(request)
        if delay_ms is not None:
            return await self._schedule(request, requester, body, delay_ms, None, path.get("stateKey", ""))
        event_id = await self._send.set_state(
            requester.user_id,
            path["roomId"],
            path["eventType"],
            path.get("stateKey", ""),
            body,
            timestamp_ms=timestamp_of(request, requester),
        )
        return {"event_id": event_id}

    @endpoint(
        "PUT",
        v3("/rooms/{roomId}/redact/{eventId}/{txnId}"),
        auth=Auth.GUEST_OK,
        operation="redactEvent",
        limit="message",
        body=dict,
        optional_body=True,
    )
    async def redact(self, request: Request, requester: Requester, body: dict[str, Any]) -> dict[str, Any]:
        path = request.path
        scope = f"redact/{path['roomId']}/{path['eventId']}"
        event_id = await self._send.redact(
            requester.user_id,
            path["roomId"],
            path["eventId"],
            body,
            transaction_of(requester, scope, path["txnId"]),
        )
        return {"event_id": event_id}

    async def _schedule(
        self,
        request: Request,
        requester: Requester,
        content: dict[str, Any],
        delay_ms: int,
        transaction: SentTransaction | None,
        state_key: str | None = None,
    ) -> dict[str, Any]:
        """The older form of scheduling, which calls use: the delay is in the query."""
        delay_id = await self._delayed.schedule(
            requester.user_id,
            request.path["roomId"],
            request.path["eventType"],
            state_key,
            content,
            delay_ms,
            transaction,
            timestamp_ms=timestamp_of(request, requester),
        )
        return {"delay_id": delay_id}


def _delay(request: Request) -> int | None:
    return request.query_int("org.matrix.msc4140.delay", minimum=1)


def transaction_of(requester: Requester, scope: str, transaction_id: str) -> SentTransaction:
    """Application services have no device of their own; their name stands for one."""
    device = requester.device_id or f"appservice/{requester.appservice_id or requester.token_nid}"
    return SentTransaction(device, scope, transaction_id)


def timestamp_of(request: Request, requester: Requester) -> int | None:
    """Application services may say when an event was sent.

    Spec: application-service-api #timestamp-massaging
    """
    return request.query_int("ts", minimum=0) if requester.appservice_id is not None else None
