"""Rooms as people see them before they join.

Spec: client-server-api #room-summaries
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from homeserver.protocol.client_event import to_stripped_state
from homeserver.protocol.errors import not_found
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.spaces import children_of
from homeserver.services.remote_servers import RemoteServers
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


class RoomSummaries:
    """The use case behind `/room_summary`, and what others show of rooms."""

    def __init__(
        self, database: Database, rooms: Rooms, events: EventStore, directory: RoomDirectory, remote: RemoteServers
    ) -> None:
        self._database = database
        self._rooms = rooms
        self._events = events
        self._directory = directory
        self._remote = remote

    async def summary(self, user_id: str | None, id_or_alias: str, via: Sequence[str] = ()) -> dict[str, Any]:
        """What a room looks like from outside. Raises M_NOT_FOUND for rooms this user may not even see.

        `via` are servers to ask about a room that this one is not in.
        """
        room_id = id_or_alias
        if id_or_alias.startswith("#"):
            found = await self._directory.find(id_or_alias)
            room_id, via = found.room_id, [*via, *found.servers]
        shown = await self._summary_here(user_id, room_id) or await self._summary_elsewhere(user_id, room_id, via)
        if shown is None:
            raise not_found("There is no such room, or you may not see it.")
        membership = await self._database.read(find_membership, room_id, user_id) if user_id is not None else None
        if membership is not None:
            shown["membership"] = membership.membership
        return shown

    async def _summary_here(self, user_id: str | None, room_id: str) -> dict[str, Any] | None:
        room = await self.find_known(room_id)
        return await self.shown(room) if room is not None and await self.may_see(user_id, room) else None

    async def _summary_elsewhere(self, user_id: str | None, room_id: str, via: Sequence[str]) -> dict[str, Any] | None:
        # For those with an account only: each such question is one to another server.
        if user_id is None or await self.find_known(room_id) is not None:
            return None
        tree = await self._remote.fetch_tree(room_id, via, suggested_only=False)
        if tree is None or not await self.may_see_remote(user_id, tree.room):
            return None
        return {key: value for key, value in tree.room.items() if key != "children_state"}

    async def find_known(self, room_id: str) -> Room | None:
        """A room whose state this server is told of: one that a local user is in."""
        room = await self._rooms.find(room_id)
        return room if room is not None and room.state and "join" in room.local_members.values() else None

    async def children(self, room: Room, *, suggested_only: bool) -> list[Event]:
        """The valid children of a space, in order."""
        ids = [event_id for (event_type, _), event_id in room.state.items() if event_type == _SPACE_CHILD]
        stored = await self._events.get_many(ids)
        children = children_of([found.event for found in stored.values() if found.redacted_by is None])
        if suggested_only:
            return [child for child in children if child.content.get("suggested") is True]
        return list(children)

    async def with_children(self, room: Room, children: Sequence[Event]) -> dict[str, Any]:
        """A room's summary, with its children if it is a space."""
        shown = await self.shown(room)
        is_space = shown.get("room_type") == "m.space"
        shown["children_state"] = [
            {**to_stripped_state(child), "origin_server_ts": child.origin_server_ts} for child in children if is_space
        ]
        return shown

    async def shown(self, room: Room) -> dict[str, Any]:
        """A room's summary."""
        summary = (await self._database.read(load_summaries, [room.room_id]))[room.room_id]
        allowed = _allowed_rooms(await self._join_rules(room))
        shown = summary_content(summary)
        if allowed and summary.join_rule in _RESTRICTED:
            shown["allowed_room_ids"] = allowed
        return shown

    async def is_open(self, room: Room) -> bool:
        """Whether anybody may see a room from outside."""
        summary = (await self._database.read(load_summaries, [room.room_id]))[room.room_id]
        return summary.join_rule in _OPEN_TO_SEE or summary.history_visibility == "world_readable"

    async def rooms_that_let_in(self, room: Room) -> list[str]:
        """The rooms whose members may join a room, where its join rule says so."""
        summary = (await self._database.read(load_summaries, [room.room_id]))[room.room_id]
        return _allowed_rooms(await self._join_rules(room)) if summary.join_rule in _RESTRICTED else []

    async def may_see(self, user_id: str | None, room: Room) -> bool:
        """Whether a user may see a room from outside."""
        if await self.is_open(room):
            return True
        if user_id is None:
            return False
        if room.local_members.get(user_id) in {"join", "invite"}:
            return True
        return await self._is_in_any(user_id, await self.rooms_that_let_in(room))

    async def may_see_remote(self, user_id: str | None, shown: Mapping[str, Any]) -> bool:
        """The same of a room that another server shows."""
        if shown.get("join_rule", "public") in _OPEN_TO_SEE or shown.get("world_readable") is True:
            return True
        if user_id is None:
            return False
        present = await self._database.read(find_membership, shown["room_id"], user_id)
        if present is not None and present.membership in {"join", "invite"}:
            return True
        return await self._is_in_any(user_id, shown.get("allowed_room_ids", ()))

    async def _is_in_any(self, user_id: str, room_ids: Sequence[str]) -> bool:
        for room_id in room_ids:
            room = await self._rooms.find(room_id)
            if room is not None and room.local_members.get(user_id) == "join":
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
