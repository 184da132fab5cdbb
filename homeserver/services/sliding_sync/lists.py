"""Which rooms a client looks at: the windows of its lists over its rooms in order of activity.

What belongs to a filtered list is remembered, and looked at again only for rooms that have changed.

Spec: MSC4186, "Lists" and `SlidingRoomFilter`
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any

import orjson
from sqlalchemy import Connection as DatabaseConnection

from homeserver.protocol.spaces import children_of
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import Rooms
from homeserver.services.rooms.visibility import Visibility
from homeserver.services.sliding_sync.request import ListFilter, ListRequest
from homeserver.services.sync.hub import SyncHub, Watched
from homeserver.services.sync.room_list import RoomList
from homeserver.storage.account_data import find_global, load_of_type
from homeserver.storage.database import Database
from homeserver.storage.memberships import FORGOTTEN, Membership
from homeserver.storage.room_lists import Traits, load_traits

_MOST_VIEWS = 30
_PRESENT = frozenset({"join", "invite", "knock"})
_PERSONAL = "personal"


@dataclass(frozen=True, slots=True)
class Window:
    """The rooms of a list that the client looks at, and how many the whole list has.

    Two windows with the same `mark` hold the same rooms.
    """

    count: int
    rooms: Collection[str]
    mark: Hashable


@dataclass(slots=True)
class _View:
    """The rooms that a filter lets through, as of a position. `version` counts rooms that came in."""

    rooms: set[str] = field(default_factory=set)
    as_of: int = -1
    version: int = 0
    serial: int = field(default_factory=count().__next__)
    children: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Personal:
    """What a user has said about their rooms: which are direct chats, and the tags of each."""

    as_of: int
    direct: frozenset[str]
    tags: Mapping[str, frozenset[str]]


class RoomLists:
    """Finds windows."""

    def __init__(
        self, database: Database, rooms: Rooms, events: EventStore, visibility: Visibility, hub: SyncHub
    ) -> None:
        self._database = database
        self._rooms = rooms
        self._events = events
        self._visibility = visibility
        self._hub = hub

    async def windows(self, watched: Watched, lists: Mapping[str, ListRequest]) -> dict[str, Window]:
        """The windows by the names of the lists."""
        if not lists:
            return {}
        room_list = await self._hub.room_list(watched)
        return {name: await self._window(watched, room_list, wanted) for name, wanted in lists.items()}

    async def personal(self, watched: Watched) -> Personal:
        """What the user has said about their rooms."""
        room_list = await self._hub.room_list(watched)
        known: Personal | None = room_list.views.get(_PERSONAL)
        if known is None or watched.changed("account_data", known.as_of):
            as_of = self._hub.position
            direct, tags = await self._database.read(_load_personal, watched.user_id)
            known = room_list.views[_PERSONAL] = Personal(as_of, direct, tags)
        return known

    async def _window(self, watched: Watched, room_list: RoomList, wanted: ListRequest) -> Window:
        view = await self._view(watched, room_list, wanted.filter)
        total = len(view.rooms)
        ranges = wanted.ranges
        if ranges is None or any(start == 0 and end >= total - 1 for start, end in ranges):
            return Window(total, view.rooms, (view.serial, view.version))
        last = max(end for _, end in ranges)
        listed = list(islice((room_id for room_id in room_list.newest_first() if room_id in view.rooms), last + 1))
        rooms = frozenset(room_id for start, end in ranges for room_id in listed[start : end + 1])
        return Window(total, rooms, rooms)

    async def _view(self, watched: Watched, room_list: RoomList, wanted: ListFilter) -> _View:
        view: _View | None = room_list.views.get(wanted)
        if view is None:
            if len(room_list.views) >= _MOST_VIEWS:
                room_list.views.clear()
            view = room_list.views[wanted] = _View()
        as_of = self._hub.position
        if as_of == view.as_of:
            return view
        children = await self._children_of(watched, wanted.spaces) if wanted.spaces is not None else frozenset()
        personal = await self.personal(watched) if _is_personal(wanted) else None
        if (
            view.as_of < 0
            or children != view.children
            or (personal is not None and personal.as_of > view.as_of)
            or watched.changed(FORGOTTEN, view.as_of)
        ):
            changed: Iterable[str] = list(room_list.activity)
            view.rooms.clear()
        else:
            changed = room_list.changed_since(view.as_of)
        view.children = children
        view.as_of = as_of
        await self._look_again(watched, room_list, wanted, view, changed, personal)
        return view

    async def _look_again(
        self,
        watched: Watched,
        room_list: RoomList,
        wanted: ListFilter,
        view: _View,
        changed: Iterable[str],
        personal: Personal | None,
    ) -> None:
        await self._complete_traits(room_list, changed)
        for room_id in changed:
            found = watched.memberships.get(room_id)
            fits = (
                found is not None
                and (found.membership in _PRESENT or await self._was_put_out(watched, found))
                and await self._fits(watched, room_list, wanted, found, view.children, personal)
            )
            if fits and room_id not in view.rooms:
                view.rooms.add(room_id)
                view.version += 1
            elif not fits:
                view.rooms.discard(room_id)

    async def _fits(
        self,
        watched: Watched,
        room_list: RoomList,
        wanted: ListFilter,
        found: Membership,
        children: frozenset[str],
        personal: Personal | None,
    ) -> bool:
        room_id = found.room_id
        if wanted.is_invited is not None and wanted.is_invited != (found.membership == "invite"):
            return False
        if wanted.spaces is not None and room_id not in children:
            return False
        if personal is not None:
            if wanted.is_dm is not None and wanted.is_dm != (room_id in personal.direct):
                return False
            tags = personal.tags.get(room_id, frozenset())
            if not tags.isdisjoint(wanted.not_tags) or (wanted.tags is not None and tags.isdisjoint(wanted.tags)):
                return False
        if wanted.is_encrypted is None and wanted.room_types is None and not wanted.not_room_types:
            return True
        traits = room_list.traits.get(room_id) or Traits(None, False)
        if found.membership in {"invite", "knock"}:
            traits = await self._traits_from_invite(found) or traits
        if wanted.is_encrypted is not None and wanted.is_encrypted != traits.is_encrypted:
            return False
        if wanted.room_types is not None and traits.room_type not in wanted.room_types:
            return False
        return traits.room_type not in wanted.not_room_types

    async def _traits_from_invite(self, found: Membership) -> Traits | None:
        """A room of which only its stripped state is known here."""
        own = await self._events.find(found.event_id)
        if own is None:
            return None
        given = own.event.unsigned.get("invite_room_state") or own.event.unsigned.get("knock_room_state")
        if not isinstance(given, list):
            return None
        contents = {event.get("type"): event.get("content") for event in given if isinstance(event, dict)}
        create = contents.get("m.room.create")
        room_type = create.get("type") if isinstance(create, dict) else None
        return Traits(room_type if isinstance(room_type, str) else None, "m.room.encryption" in contents)

    async def _was_put_out(self, watched: Watched, found: Membership) -> bool:
        """Whether somebody else ended the user's membership, of which the user may not know yet."""
        if found.forgotten or found.sender == watched.user_id:
            return False
        return bool(await self._visibility.joins(found.room_id, watched.user_id))

    async def _children_of(self, watched: Watched, spaces: Collection[str]) -> frozenset[str]:
        """The rooms in these spaces, as far as the user is in them."""
        found: set[str] = set()
        for space_id in spaces:
            membership = watched.memberships.get(space_id)
            if membership is None or membership.membership != "join":
                continue
            space = await self._rooms.get(space_id)
            ids = [event_id for (event_type, _), event_id in space.state.items() if event_type == "m.space.child"]
            stored = await self._events.get_many(ids)
            children = children_of([event.event for event in stored.values() if event.redacted_by is None])
            found.update(child.state_key or "" for child in children)
        return frozenset(found)

    async def _complete_traits(self, room_list: RoomList, room_ids: Iterable[str]) -> None:
        missing = [room_id for room_id in room_ids if room_id not in room_list.traits]
        if missing:
            room_list.traits.update(await self._database.read(load_traits, missing))


def _is_personal(wanted: ListFilter) -> bool:
    return wanted.is_dm is not None or wanted.tags is not None or bool(wanted.not_tags)


def _load_personal(connection: DatabaseConnection, user_id: str) -> tuple[frozenset[str], dict[str, frozenset[str]]]:
    stored = find_global(connection, user_id, "m.direct")
    direct: Any = orjson.loads(stored) if stored is not None else {}
    rooms = [room_id for chats in direct.values() if isinstance(chats, list) for room_id in chats]
    tags = {}
    for room_id, content in load_of_type(connection, user_id, "m.tag"):
        named = orjson.loads(content).get("tags")
        tags[room_id] = frozenset(named) if isinstance(named, dict) else frozenset()
    return frozenset(room_id for room_id in rooms if isinstance(room_id, str)), tags
