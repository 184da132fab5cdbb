"""The deprecated `/initialSync`, `/events` and `/events/{eventId}`.

Spec: client-server-api #get_matrixclientv3initialsync
"""

from __future__ import annotations

from typing import Any

from homeserver.client_api.paths import v3
from homeserver.protocol.errors import not_found
from homeserver.services.rooms.client_events import ClientEvents, Reader
from homeserver.services.rooms.read_room import ReadRoom
from homeserver.services.sync.old_sync import OldSync
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

_LONGEST_WAIT_MS = 300_000


class OldSyncApi:
    """Sync as it was before `/sync`."""

    def __init__(self, old: OldSync, rooms: ReadRoom, client_events: ClientEvents) -> None:
        self._old = old
        self._rooms = rooms
        self._client_events = client_events

    @endpoint("GET", v3("/initialSync"), operation="initialSync")
    async def initial_sync(self, request: Request, requester: Requester) -> Any:
        limit = request.query_int("limit", 20, minimum=0, maximum=1_000)
        archived = request.query_bool("archived")
        return await self._old.initial(requester.user_id, requester.device_id, limit, archived=archived)

    @endpoint("GET", v3("/events"), auth=Auth.GUEST_OK, operation="getEvents")
    async def events(self, request: Request, requester: Requester) -> Any:
        start, room_id = request.find_query("from"), request.find_query("room_id")
        timeout_ms = request.query_int("timeout", 0, minimum=0, maximum=_LONGEST_WAIT_MS)
        if room_id is not None:
            return await self._old.peek(requester.user_id, room_id, start, timeout_ms)
        return await self._old.events(requester.user_id, requester.device_id, start, timeout_ms)

    @endpoint("GET", v3("/events/{eventId}"), operation="getOneEvent")
    async def event(self, request: Request, requester: Requester) -> Any:
        stored = await self._rooms.event_anywhere(requester.user_id, request.path["eventId"])
        if stored is None:
            raise not_found("There is no such event, or you may not see it.")
        reader = Reader(requester.user_id, requester.device_id)
        return (await self._client_events.render([stored], reader))[0]

    @endpoint("GET", v3("/rooms/{roomId}/initialSync"), auth=Auth.GUEST_OK, operation="roomInitialSync")
    async def room_initial_sync(self, request: Request, requester: Requester) -> Any:
        limit = request.query_int("limit", 20, minimum=0, maximum=1_000)
        return await self._old.room(requester.user_id, request.path["roomId"], limit)
