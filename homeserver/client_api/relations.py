"""Events that relate to an event, and the threads of a room.

Spec: client-server-api #querying-child-events, #querying-threads-in-a-room
"""

from __future__ import annotations

from typing import Any

from homeserver.services.rooms.client_events import ClientEvents, Reader
from homeserver.services.rooms.relations import Relations
from homeserver.services.sync.request import UserNews
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

_BASE = "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}"
# Where relations were before they were specified; matrix-bot-sdk still asks there.
_UNSTABLE = "/_matrix/client/unstable/rooms/{roomId}/relations/{eventId}"
_MOST = 100


class RelationsApi:
    """The endpoints for relations and threads."""

    def __init__(self, relations: Relations, client_events: ClientEvents, users: UserNews) -> None:
        self._relations = relations
        self._client_events = client_events
        self._users = users

    @endpoint("GET", [_BASE, _UNSTABLE], auth=Auth.GUEST_OK, operation="getRelatingEvents")
    @endpoint(
        "GET",
        [f"{_BASE}/{{relType}}", f"{_UNSTABLE}/{{relType}}"],
        auth=Auth.GUEST_OK,
        operation="getRelatingEventsWithRelType",
    )
    @endpoint(
        "GET",
        [f"{_BASE}/{{relType}}/{{eventType}}", f"{_UNSTABLE}/{{relType}}/{{eventType}}"],
        auth=Auth.GUEST_OK,
        operation="getRelatingEventsWithRelTypeAndEventType",
    )
    async def relations(self, request: Request, requester: Requester) -> dict[str, Any]:
        reader = await self._reader(requester)
        page = await self._relations.related(
            reader,
            request.path["roomId"],
            request.path["eventId"],
            rel_type=request.path.get("relType"),
            event_type=request.path.get("eventType"),
            start=request.find_query("from"),
            stop=request.find_query("to"),
            forwards=request.query_choice("dir", ("b", "f"), "b") == "f",
            recurse=request.query_bool("recurse"),
            limit=max(1, request.query_int("limit", 20, minimum=0, maximum=_MOST)),
        )
        body: dict[str, Any] = {"chunk": await self._client_events.render(page.events, reader)}
        if page.end is not None:
            body["next_batch"] = page.end
        if request.find_query("from") is not None:
            body["prev_batch"] = request.find_query("from")
        if page.depth is not None:
            body["recursion_depth"] = page.depth
        return body

    @endpoint("GET", "/_matrix/client/v1/rooms/{roomId}/threads", auth=Auth.GUEST_OK, operation="getThreadRoots")
    async def threads(self, request: Request, requester: Requester) -> dict[str, Any]:
        reader = await self._reader(requester)
        events, following = await self._relations.threads(
            reader,
            request.path["roomId"],
            only_own=request.query_choice("include", ("all", "participated"), "all") == "participated",
            start=request.find_query("from"),
            limit=max(1, request.query_int("limit", 20, minimum=0, maximum=_MOST)),
        )
        body: dict[str, Any] = {"chunk": await self._client_events.render(events, reader)}
        if following is not None:
            body["next_batch"] = following
        return body

    async def _reader(self, requester: Requester) -> Reader:
        ignored = await self._users.ignored_users(requester.user_id)
        return Reader(requester.user_id, requester.device_id, ignored)
