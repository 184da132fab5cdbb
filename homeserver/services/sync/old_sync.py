"""The sync of before 2016, told in terms of today's: `/initialSync` and `/events`, still used by small bots.

Spec: client-server-api #get_matrixclientv3initialsync
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from homeserver.protocol.sync_filters import EventFilter, Filter, RoomFilter
from homeserver.runtime.clock import Clock
from homeserver.services.rooms.client_events import ClientEvents, Reader
from homeserver.services.rooms.read_room import ReadRoom
from homeserver.services.rooms.room import Rooms
from homeserver.services.rooms.timeline import Page, Timeline
from homeserver.services.rooms.visibility import Visibility
from homeserver.services.sync.ephemeral_events import receipts_content
from homeserver.services.sync.request import PresenceNews, SyncRequest, UserNews
from homeserver.services.sync.sync import Sync
from homeserver.services.tokens import SyncToken, parse_sync_token
from homeserver.storage.database import Database
from homeserver.storage.receipts import load_receipts
from homeserver.storage.room_summaries import load_summaries

_MOST_EVENTS = 500
_LOOK_AGAIN_S = 0.25
_EVERYTHING = EventFilter()


@dataclass(frozen=True, slots=True)
class OldSync:
    """The use cases behind the deprecated endpoints."""

    database: Database
    sync: Sync
    rooms: Rooms
    read: ReadRoom
    timeline: Timeline
    visibility: Visibility
    client_events: ClientEvents
    users: UserNews
    presence: PresenceNews
    clock: Clock

    async def initial(self, user_id: str, device_id: str | None, limit: int, *, archived: bool) -> dict[str, Any]:
        """Everything about a user's rooms, with up to `limit` messages of each."""
        body = await self._sync(user_id, device_id, None, 0, limit, archived=archived)
        shown = body.get("rooms", {})
        ids = list(shown.get("join", {}))
        summaries = await self.database.read(load_summaries, ids)
        rooms: list[dict[str, Any]] = []
        for room_id, part in shown.get("join", {}).items():
            published = room_id in summaries and summaries[room_id].published
            visibility = "public" if published else "private"
            rooms.append(_room_info(room_id, "join", part, body["next_batch"]) | {"visibility": visibility})
        for room_id, part in shown.get("leave", {}).items():
            member = _member(part.get("state_after", {}).get("events", []) + part["timeline"]["events"], user_id)
            rooms.append(_room_info(room_id, member.get("content", {}).get("membership", "leave"), part, ""))
        for room_id, part in shown.get("invite", {}).items():
            invite = _member(part["invite_state"]["events"], user_id) | {"room_id": room_id}
            rooms.append(
                {"room_id": room_id, "membership": "invite", "invite": invite, "inviter": invite.get("sender")}
            )
        receipts = [
            event
            for room_id, part in shown.get("join", {}).items()
            for event in _ephemeral(room_id, part)
            if event["type"] == "m.receipt"
        ]
        return {
            "end": body["next_batch"],
            "rooms": rooms,
            "presence": _presence(body),
            "account_data": body.get("account_data", {}).get("events", []),
            "receipts": receipts,
        }

    async def events(self, user_id: str, device_id: str | None, start: str | None, timeout_ms: int) -> dict[str, Any]:
        """What happened after `start` (without it: after now), or what does within `timeout_ms`."""
        since = parse_sync_token(start) if start is not None else self.sync.now()
        body = await self._sync(user_id, device_id, since, timeout_ms, _MOST_EVENTS)
        chunk: list[dict[str, Any]] = []
        shown = body.get("rooms", {})
        for kind in ("join", "leave"):
            for room_id, part in shown.get(kind, {}).items():
                chunk += [{**event, "room_id": room_id} for event in part.get("timeline", {}).get("events", [])]
                chunk += _ephemeral(room_id, part)
        for kind in ("invite", "knock"):
            for room_id, part in shown.get(kind, {}).items():
                chunk.append(_member(part[f"{kind}_state"]["events"], user_id) | {"room_id": room_id})
        return {"start": str(since), "end": body["next_batch"], "chunk": [*chunk, *_presence(body)]}

    async def peek(self, user_id: str, room_id: str, start: str | None, timeout_ms: int) -> dict[str, Any]:
        """The same of one room, for anybody who may read it.

        Spec: client-server-api #get_matrixclientv3events-1
        """
        await self.read.check_may_read(user_id, room_id)
        since = start if start is not None else str(self.sync.now())
        deadline = self.clock.monotonic() + timeout_ms / 1000
        while True:
            page = await self._page(user_id, room_id, since, _MOST_EVENTS, forwards=True)
            if page.events or self.clock.monotonic() >= deadline:
                break
            seen = (await self.rooms.get(room_id)).latest_position
            while self.clock.monotonic() < deadline and (await self.rooms.get(room_id)).latest_position == seen:
                await self.clock.sleep(_LOOK_AGAIN_S)
        reader = Reader(user_id, None, await self.users.ignored_users(user_id))
        last = page.events[-1].position if page.events else None
        end = str(SyncToken(last)) if last is not None else since
        return {"start": since, "end": end, "chunk": await self.client_events.render(page.events, reader)}

    async def room(self, user_id: str, room_id: str, limit: int) -> dict[str, Any]:
        """One room as it is, or as it was when the user left.

        Spec: client-server-api #get_matrixclientv3roomsroomidinitialsync
        """
        room = await self.rooms.get(room_id)
        viewer = await self.visibility.viewer(user_id, room, or_world_readable=True)
        state = await self.read.state(user_id, room_id)
        reader = Reader(user_id, None, await self.users.ignored_users(user_id))
        end = self.sync.now()
        page = await self._page(user_id, room_id, None, limit, forwards=False)
        messages = await self.client_events.render(list(page.events)[::-1], reader)
        summaries = await self.database.read(load_summaries, [room_id])
        info: dict[str, Any] = {
            "room_id": room_id,
            "messages": {"start": page.end or page.start, "end": str(end), "chunk": messages},
            "state": self.client_events.render_plain(state, reader),
            "visibility": "public" if room_id in summaries and summaries[room_id].published else "private",
            "account_data": [
                {"type": kind, "content": orjson.Fragment(content)}
                for kind, content in (await self.users.room_account_data(user_id, 0)).get(room_id, [])
            ],
            "presence": [],
            "receipts": [],
        }
        if room.local_members.get(user_id) is not None or viewer.joins:
            info["membership"] = viewer.membership
        if viewer.membership == "join":
            members = {stored.event.state_key for stored in state if stored.event.membership == "join"}
            news = await self.presence.changes(user_id, 0)
            info["presence"] = [event for event in _with_user_id(news) if event["sender"] in members]
            receipts = await self.database.read(load_receipts, [room_id], 0, end.position)
            content = receipts_content(receipts, user_id)
            info["receipts"] = [{"type": "m.receipt", "room_id": room_id, "content": content}] if content else []
        return info

    async def _sync(
        self,
        user_id: str,
        device_id: str | None,
        since: SyncToken | None,
        timeout_ms: int,
        limit: int,
        *,
        archived: bool = False,
    ) -> dict[str, Any]:
        wanted = Filter(room=RoomFilter(include_leave=archived, timeline=EventFilter(limit=limit)))
        request = SyncRequest(user_id, device_id, since, wanted, timeout_ms, use_state_after=True)
        body: dict[str, Any] = orjson.loads(orjson.dumps(await self.sync.sync(request)))
        return body

    async def _page(self, user_id: str, room_id: str, start: str | None, limit: int, *, forwards: bool) -> Page:
        ignored = await self.users.ignored_users(user_id)
        return await self.timeline.messages(
            user_id,
            room_id,
            start=start,
            stop=None,
            forwards=forwards,
            limit=max(1, limit),
            wanted=_EVERYTHING,
            ignored=frozenset(ignored),
        )


def _room_info(room_id: str, membership: str, part: Mapping[str, Any], end: str) -> dict[str, Any]:
    timeline = part["timeline"]
    messages = {"chunk": [{**event, "room_id": room_id} for event in timeline["events"]], "end": end}
    if "prev_batch" in timeline:
        messages["start"] = timeline["prev_batch"]
        messages["end"] = end or timeline["prev_batch"]
    state = part.get("state_after", {}).get("events", [])
    return {
        "room_id": room_id,
        "membership": membership,
        "messages": messages,
        "state": [{**event, "room_id": room_id} for event in state],
        "account_data": part.get("account_data", {}).get("events", []),
    }


def _member(events: list[dict[str, Any]], user_id: str) -> dict[str, Any]:
    """The newest of a user's member events among `events`; empty when there is none."""
    found = [event for event in events if event["type"] == "m.room.member" and event.get("state_key") == user_id]
    return found[-1] if found else {}


def _ephemeral(room_id: str, part: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{**event, "room_id": room_id} for event in part.get("ephemeral", {}).get("events", [])]


def _presence(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    return _with_user_id(body.get("presence", {}).get("events", []))


def _with_user_id(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Clients of old look for the user in the content."""
    return [{**event, "content": {**event["content"], "user_id": event["sender"]}} for event in events]
