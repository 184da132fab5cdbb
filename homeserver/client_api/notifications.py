"""`GET /notifications`.

Spec: client-server-api #listing-notifications
"""

from __future__ import annotations

from typing import Any

from homeserver.client_api.paths import v3
from homeserver.services.push.history import NotificationHistory
from homeserver.services.rooms.client_events import ClientEvents, Reader
from homeserver.web.endpoint import endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

_MOST = 100


class NotificationsApi:
    def __init__(self, history: NotificationHistory, client_events: ClientEvents) -> None:
        self._history = history
        self._client_events = client_events

    @endpoint("GET", v3("/notifications"), operation="getNotifications")
    async def get_notifications(self, request: Request, requester: Requester) -> dict[str, Any]:
        found, following = await self._history.page(
            requester.user_id,
            before=request.query_int("from", minimum=0),
            limit=max(1, request.query_int("limit", 20, minimum=0, maximum=_MOST)),
            only_highlights=request.find_query("only") == "highlight",
        )
        reader = Reader(requester.user_id, requester.device_id)
        shown = await self._client_events.render([one.stored for one in found], reader, with_room_id=False)
        body: dict[str, Any] = {
            "notifications": [
                {
                    "actions": list(one.actions),
                    "event": event,
                    "read": one.read,
                    "room_id": one.stored.event.room_id,
                    "ts": one.stored.event.origin_server_ts,
                }
                for one, event in zip(found, shown, strict=True)
            ]
        }
        if following is not None:
            body["next_token"] = str(following)
        return body
