"""Reading a room: state, members, single events, pages of messages, an event in its context.

Spec: client-server-api #getting-events-for-a-room
"""

from __future__ import annotations

from typing import Any

import orjson

from homeserver.client_api.paths import v3
from homeserver.protocol.errors import bad_json, invalid_param
from homeserver.protocol.sync_filters import EventFilter
from homeserver.services.rooms.client_events import ClientEvents, Reader
from homeserver.services.rooms.read_room import ReadRoom
from homeserver.services.rooms.timeline import Timeline
from homeserver.services.sync.request import UserNews
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

_MEMBERSHIPS = ("join", "invite", "leave", "ban", "knock")
_MOST_MESSAGES = 1_000
_MOST_CONTEXT = 100


class RoomsApi:
    """The endpoints that read a room."""

    def __init__(self, rooms: ReadRoom, timeline: Timeline, client_events: ClientEvents, users: UserNews) -> None:
        self._rooms = rooms
        self._timeline = timeline
        self._client_events = client_events
        self._users = users

    @endpoint("GET", v3("/rooms/{roomId}/event/{eventId}"), auth=Auth.GUEST_OK, operation="getOneRoomEvent")
    async def event(self, request: Request, requester: Requester) -> Any:
        path = request.path
        stored = await self._rooms.event(requester.user_id, path["roomId"], path["eventId"])
        return (await self._client_events.render([stored], await self._reader(requester)))[0]

    @endpoint("GET", v3("/rooms/{roomId}/state"), auth=Auth.GUEST_OK, operation="getRoomState")
    async def state(self, request: Request, requester: Requester) -> Any:
        found = await self._rooms.state(requester.user_id, request.path["roomId"])
        return self._client_events.render_plain(found, _reader(requester))

    @endpoint(
        "GET",
        [
            *v3("/rooms/{roomId}/state/{eventType}/{stateKey}"),
            *v3("/rooms/{roomId}/state/{eventType}"),
            *v3("/rooms/{roomId}/state/{eventType}/"),
        ],
        auth=Auth.GUEST_OK,
        operation="getRoomStateWithKey",
    )
    async def state_event(self, request: Request, requester: Requester) -> Any:
        path = request.path
        shape = request.query_choice("format", ("content", "event"), "content")
        stored = await self._rooms.state_event(
            requester.user_id, path["roomId"], path["eventType"], path.get("stateKey", "")
        )
        if shape == "event":
            return self._client_events.render_plain([stored], _reader(requester))[0]
        shown = stored.event if stored.redacted_by is None else stored.event.redacted()
        return shown.content

    @endpoint("GET", v3("/rooms/{roomId}/members"), auth=Auth.GUEST_OK, operation="getMembersByRoom")
    async def members(self, request: Request, requester: Requester) -> Any:
        found = await self._rooms.members(
            requester.user_id,
            request.path["roomId"],
            at=request.find_query("at"),
            membership=_membership(request, "membership"),
            not_membership=_membership(request, "not_membership"),
        )
        return {"chunk": self._client_events.render_plain(found, _reader(requester))}

    @endpoint(
        "GET",
        v3("/rooms/{roomId}/joined_members"),
        auth=Auth.GUEST_OK,
        operation="getJoinedMembersByRoom",
    )
    async def joined_members(self, request: Request, requester: Requester) -> Any:
        joined: dict[str, dict[str, str]] = {}
        for member in await self._rooms.joined_members(requester.user_id, request.path["roomId"]):
            shown = joined[member.user_id] = {}
            if member.display_name is not None:
                shown["display_name"] = member.display_name
            if member.avatar_url is not None:
                shown["avatar_url"] = member.avatar_url
        return {"joined": joined}

    @endpoint("GET", v3("/rooms/{roomId}/messages"), auth=Auth.GUEST_OK, operation="getRoomEvents")
    async def messages(self, request: Request, requester: Requester) -> Any:
        direction = request.query_choice("dir", ("b", "f"), "b")
        wanted = _filter(request)
        reader = await self._reader(requester)
        limit = request.query_int("limit", 10, minimum=0, maximum=_MOST_MESSAGES)
        page = await self._timeline.messages(
            requester.user_id,
            request.path["roomId"],
            start=request.find_query("from"),
            stop=request.find_query("to"),
            forwards=direction == "f",
            limit=max(1, min(limit, wanted.limit if wanted.limit is not None else limit)),
            wanted=wanted,
            ignored=frozenset(reader.ignored),
        )
        body: dict[str, Any] = {
            "start": page.start,
            "chunk": await self._client_events.render(page.events, reader),
        }
        if page.end is not None:
            body["end"] = page.end
        if page.state:
            body["state"] = self._client_events.render_plain(page.state, reader)
        return body

    @endpoint("GET", v3("/rooms/{roomId}/context/{eventId}"), auth=Auth.GUEST_OK, operation="getEventContext")
    async def context(self, request: Request, requester: Requester) -> Any:
        reader = await self._reader(requester)
        limit = request.query_int("limit", 10, minimum=0, maximum=_MOST_CONTEXT)
        found = await self._timeline.context(
            requester.user_id,
            request.path["roomId"],
            request.path["eventId"],
            (limit // 2, limit - limit // 2),
            _filter(request),
            frozenset(reader.ignored),
        )
        render = self._client_events.render
        return {
            "event": (await render([found.event], reader))[0],
            "events_before": await render(found.before, reader),
            "events_after": await render(found.after, reader),
            "start": found.start,
            "end": found.end,
            "state": self._client_events.render_plain(found.state, reader),
        }

    @endpoint(
        "GET",
        [
            "/_matrix/client/v1/rooms/{roomId}/timestamp_to_event",
            "/_matrix/client/unstable/org.matrix.msc3030/rooms/{roomId}/timestamp_to_event",
        ],
        operation="getEventByTimestamp",
    )
    async def timestamp_to_event(self, request: Request, requester: Requester) -> Any:
        request.query_str("ts")
        timestamp_ms = request.query_int("ts", 0)
        direction = request.query_str("dir")
        if direction not in {"b", "f"}:
            raise invalid_param("The query parameter `dir` must be `b` or `f`.")
        found = await self._timeline.closest_to(
            requester.user_id, request.path["roomId"], timestamp_ms, forwards=direction == "f"
        )
        return {"event_id": found.event_id, "origin_server_ts": found.origin_server_ts}

    async def _reader(self, requester: Requester) -> Reader:
        ignored = await self._users.ignored_users(requester.user_id)
        return Reader(requester.user_id, requester.device_id, ignored)


def _reader(requester: Requester) -> Reader:
    return Reader(requester.user_id, requester.device_id)


def _membership(request: Request, name: str) -> str | None:
    value = request.find_query(name)
    if value is not None and value not in _MEMBERSHIPS:
        raise invalid_param(f"`{name}` must be one of {', '.join(_MEMBERSHIPS)}.")
    return value


def _filter(request: Request) -> EventFilter:
    text = request.find_query("filter")
    if not text:
        return EventFilter()
    try:
        return EventFilter.parse(orjson.loads(text))
    except orjson.JSONDecodeError:
        raise bad_json("The query parameter `filter` must be JSON.") from None
