"""Delayed events: scheduled, looked at, restarted, sent or cancelled.

The unstable endpoints that manage an event want no access token, as services that watch calls have none.

Spec: MSC4140
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from homeserver.client_api.paths import unstable, v1, v3
from homeserver.client_api.room_send import timestamp_of, transaction_of
from homeserver.protocol.errors import invalid_param
from homeserver.services.accounts.tokens import check_not_suspended
from homeserver.services.delayed_events.delayed_events import DelayedEvents
from homeserver.services.rate_limiter import RateLimits
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

_MSC4140 = "org.matrix.msc4140"


class _ScheduleBody(msgspec.Struct):
    delay_ms: Annotated[int, msgspec.Meta(ge=1)]
    content: dict[str, Any]
    state_key: str | None = None


class _ActionBody(msgspec.Struct):
    action: str


class DelayedEventsApi:
    def __init__(self, delayed: DelayedEvents, limits: RateLimits) -> None:
        self._delayed = delayed
        self._limits = limits

    @endpoint(
        "PUT",
        [
            *unstable(_MSC4140, "/rooms/{roomId}/delayed_event/{eventType}/{txnId}"),
            *v3("/rooms/{roomId}/delayed_event/{eventType}/{txnId}"),
        ],
        auth=Auth.GUEST_OK,
        limit="message",
        body=_ScheduleBody,
    )
    async def schedule(self, request: Request, requester: Requester, body: _ScheduleBody) -> dict[str, Any]:
        check_not_suspended(requester)
        room_id, event_type = request.path["roomId"], request.path["eventType"]
        delay_id = await self._delayed.schedule(
            requester.user_id,
            room_id,
            event_type,
            body.state_key,
            body.content,
            body.delay_ms,
            transaction_of(requester, f"delayed_event/{room_id}/{event_type}", request.path["txnId"]),
            timestamp_ms=timestamp_of(request, requester),
        )
        return {"delay_id": delay_id}

    @endpoint(
        "GET",
        [*unstable(_MSC4140, "/delayed_events"), *v1("/delayed_events")],
        auth=Auth.GUEST_OK,
        limit="delayed_event",
    )
    async def list_scheduled(self, request: Request, requester: Requester) -> dict[str, Any]:
        return {"delayed_events": await self._delayed.list_scheduled(requester.user_id)}

    @endpoint(
        "GET",
        [*unstable(_MSC4140, "/delayed_events/{delayId}"), *v1("/delayed_events/{delayId}")],
        auth=Auth.GUEST_OK,
        limit="delayed_event",
    )
    async def get(self, request: Request, requester: Requester) -> dict[str, Any]:
        return await self._delayed.get(requester.user_id, request.path["delayId"])

    @endpoint("POST", v1("/delayed_events/{delayId}/{action}"), auth=Auth.GUEST_OK, limit="delayed_event")
    async def manage_own(self, request: Request, requester: Requester) -> dict[str, Any]:
        await self._manage(request.path["delayId"], request.path["action"], requester.user_id)
        return {}

    @endpoint("POST", unstable(_MSC4140, "/delayed_events/{delayId}/{action}"), auth=Auth.NONE)
    async def manage(self, request: Request) -> dict[str, Any]:
        delay_id = request.path["delayId"]
        self._limits.take("delayed_event", delay_id)
        await self._manage(delay_id, request.path["action"], None)
        return {}

    @endpoint("POST", unstable(_MSC4140, "/delayed_events/{delayId}"), auth=Auth.NONE, body=_ActionBody)
    async def manage_by_body(self, request: Request, body: _ActionBody) -> dict[str, Any]:
        """As clients did before the action was in the path."""
        delay_id = request.path["delayId"]
        self._limits.take("delayed_event", delay_id)
        await self._manage(delay_id, body.action, None)
        return {}

    async def _manage(self, delay_id: str, action: str, user_id: str | None) -> None:
        match action:
            case "send":
                await self._delayed.send_now(delay_id, user_id)
            case "cancel":
                await self._delayed.cancel(delay_id, user_id)
            case "restart":
                await self._delayed.restart(delay_id, user_id)
            case _:
                raise invalid_param("The action must be `send`, `cancel` or `restart`.")
