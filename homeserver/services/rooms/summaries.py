"""Rooms as people see them before they join: single summaries, and the tree of a space.

Spec: client-server-api #room-summaries, #viewing-the-rooms-of-a-space
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homeserver.protocol.client_event import to_stripped_state
from homeserver.protocol.errors import forbidden, invalid_param, not_found
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.spaces import children_of
from homeserver.services.rooms.aliases import RoomDirectory
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import Room, Rooms
from homeserver.storage.database import Database
from homeserver.storage.memberships import find_membership
from homeserver.storage.room_summaries import RoomSummary, load_summaries

_JOIN_RULES: StateKey = ("m.room.join_rules", "")
_SPACE_CHILD = "m.space.child"
_OPEN_TO_SEE = frozenset({"public", "knock", "knock_restricted"})
_RESTRICTED = frozenset({"restricted", "knock_restricted"})
_LARGEST_PAGE = 50
_DEEPEST = 10
_MOST_ROOMS = 2_000


@dataclass(frozen=True, slots=True)
class TreePage:
    """A page of a space's rooms, depth first; `next_batch` is None on the last one."""

    rooms: Sequence[Mapping[str, Any]]
    next_batch: str | None


@dataclass(frozen=True, slots=True)
class _Wanted:
    """How a tree is walked; the same for all of its pages."""

    user_id: str
    suggested_only: bool
    max_depth: int


class RoomSummaries:
    """The use cases behind `/room_summary` and `/hierarchy`."""

    def __init__(self, database: Database, rooms: Rooms, events: EventStore, directory: RoomDirectory) -> None:
        self._database = database
        self._rooms = rooms
        self._events = events
        self._directory = directory

    async def summary(self, user_id: str | None, id_or_alias: str) -> dict[str, Any]:
        """What a room looks like from outside. Raises M_NOT_FOUND for rooms this user may not even see."""
        room_id = id_or_alias
        if id_or_alias.startswith("#"):
            room_id = (await self._directory.find(id_or_alias)).room_id
        room = await self._rooms.find(room_id)
        if room is None or not room.state or not await self._may_see(user_id, room):
            raise not_found("There is no such room, or you may not see it.")
        shown = await self._shown(room)
        membership = await self._database.read(find_membership, room_id, user_id) if user_id is not None else None
        if membership is not None:
            shown["membership"] = membership.membership
        return shown

    async def tree(
        self, user_id: str, room_id: str, *, suggested_only: bool, max_depth: int | None, limit: int, start: str | None
    ) -> TreePage:
        """A page of the rooms of a space. Raises M_FORBIDDEN, M_INVALID_PARAM for a token of another walk."""
        wanted = _Wanted(user_id, suggested_only, min(_DEEPEST if max_depth is None else max_depth, _DEEPEST))
        skipped = _parse_token(start, wanted) if start is not None else 0
        size = max(1, min(limit, _LARGEST_PAGE))
        root = await self._rooms.find(room_id)
        if root is None or not root.state or not await self._may_see(user_id, root):
            raise forbidden("You may not see this room.")
        found = await self._walk(root, wanted, skipped + size + 1)
        page = [await self._with_children(room, children) for room, children in found[skipped : skipped + size]]
        more = len(found) > skipped + size
        return TreePage(page, _token(skipped + size, wanted) if more else None)

    async def _walk(self, root: Room, wanted: _Wanted, enough: int) -> list[tuple[Room, list[Event]]]:
        """Rooms in the order of the tree, each once, with their valid children; at most `enough`."""
        found: list[tuple[Room, list[Event]]] = []
        waiting: list[tuple[Room, int]] = [(root, 0)]
        seen = {root.room_id}
        while waiting and len(found) < min(enough, _MOST_ROOMS):
            room, depth = waiting.pop()
            children = await self._children(room, wanted)
            found.append((room, children))
            if depth >= wanted.max_depth:
                continue
            for child in reversed(children):
                child_id = child.key[1]
                if child_id in seen:
                    continue
                below = await self._rooms.find(child_id)
                if below is None or not below.state or not await self._may_see(wanted.user_id, below):
                    continue
                seen.add(child_id)
                waiting.append((below, depth + 1))
        return found

    async def _children(self, room: Room, wanted: _Wanted) -> list[Event]:
        ids = [event_id for (event_type, _), event_id in room.state.items() if event_type == _SPACE_CHILD]
        stored = await self._events.get_many(ids)
        children = children_of([found.event for found in stored.values() if found.redacted_by is None])
        if wanted.suggested_only:
            return [child for child in children if child.content.get("suggested") is True]
        return list(children)

    async def _with_children(self, room: Room, children: Sequence[Event]) -> dict[str, Any]:
        shown = await self._shown(room)
        is_space = shown.get("room_type") == "m.space"
        shown["children_state"] = [
            {**to_stripped_state(child), "origin_server_ts": child.origin_server_ts} for child in children if is_space
        ]
        return shown

    async def _shown(self, room: Room) -> dict[str, Any]:
        summary = (await self._database.read(load_summaries, [room.room_id]))[room.room_id]
        allowed = _allowed_rooms(await self._join_rules(room))
        shown = summary_content(summary)
        if allowed and summary.join_rule in _RESTRICTED:
            shown["allowed_room_ids"] = allowed
        return shown

    async def _may_see(self, user_id: str | None, room: Room) -> bool:
        summary = (await self._database.read(load_summaries, [room.room_id]))[room.room_id]
        if summary.join_rule in _OPEN_TO_SEE or summary.history_visibility == "world_readable":
            return True
        if user_id is None:
            return False
        if room.local_members.get(user_id) in {"join", "invite"}:
            return True
        if summary.join_rule not in _RESTRICTED:
            return False
        for other_id in _allowed_rooms(await self._join_rules(room)):
            other = await self._rooms.find(other_id)
            if other is not None and other.local_members.get(user_id) == "join":
                return True
        return False

    async def _join_rules(self, room: Room) -> Event | None:
        return (await self._events.get_state(room.state, [_JOIN_RULES])).get(_JOIN_RULES)


def summary_content(summary: RoomSummary) -> dict[str, Any]:
    """A summary as JSON; what is not set is left out.

    Spec: client-server-api #get_matrixclientv1room_summaryroomidoralias
    """
    shown = {
        "name": summary.name,
        "topic": summary.topic,
        "avatar_url": summary.avatar_url,
        "canonical_alias": summary.canonical_alias,
        "join_rule": summary.join_rule,
        "room_type": summary.room_type,
        "encryption": summary.encryption,
    }
    return {
        "room_id": summary.room_id,
        "room_version": summary.version,
        "num_joined_members": summary.joined_members,
        "guest_can_join": summary.guest_access == "can_join",
        "world_readable": summary.history_visibility == "world_readable",
        **{key: value for key, value in shown.items() if value is not None},
    }


def _allowed_rooms(join_rules: Event | None) -> list[str]:
    allow = join_rules.content.get("allow") if join_rules is not None else None
    return [
        condition["room_id"]
        for condition in (allow if isinstance(allow, list) else [])
        if isinstance(condition, dict)
        and condition.get("type") == "m.room_membership"
        and isinstance(condition.get("room_id"), str)
    ]


def _token(skipped: int, wanted: _Wanted) -> str:
    return f"{skipped}_{wanted.max_depth}_{int(wanted.suggested_only)}"


def _parse_token(token: str, wanted: _Wanted) -> int:
    parts = token.split("_")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 8 for part in parts):
        raise invalid_param("This token did not come from this list.")
    if token != _token(int(parts[0]), wanted):
        raise invalid_param("`suggested_only` and `max_depth` must stay the same on all pages.")
    return int(parts[0])
