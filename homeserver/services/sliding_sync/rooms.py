"""What is told of one room on a connection: what changed since it was last told, or all that is wished for.

Spec: MSC4186, "Room results"
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from homeserver.protocol.events import StateKey
from homeserver.protocol.sync_filters import EventFilter
from homeserver.services.push.unread import UnreadCounts
from homeserver.services.rooms.client_events import ClientEvents
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import MEMBER, Room, Rooms
from homeserver.services.rooms.state_groups import StateGroups
from homeserver.services.rooms.visibility import Viewer, Visibility
from homeserver.services.sliding_sync.connections import EVERY_EVENT, LIVE, Told
from homeserver.services.sliding_sync.request import RoomConfig, Turn
from homeserver.services.sync.heroes import Heroes
from homeserver.services.sync.newest_events import NewestEvents, TimelinePart
from homeserver.services.sync.other_rooms import StrippedRooms
from homeserver.storage.database import Database
from homeserver.storage.memberships import Membership
from homeserver.storage.room_lists import load_bumps

_EVERYTHING = EventFilter()
_MOST_FROM_MEMORY = 200
_NAME: StateKey = ("m.room.name", "")
_AVATAR: StateKey = ("m.room.avatar", "")


class RoomNews(NamedTuple):
    """What to tell of a room (None: nothing), what the client has then (None: not the room any more), and the ids
    of the events shown."""

    body: dict[str, Any] | None
    told: Told | None
    shown_events: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """A room that is looked at: what the client has of it, how much it wants, and from where on news are."""

    found: Membership
    config: RoomConfig
    before: Told | None
    is_dm: bool
    after: int

    @property
    def is_new(self) -> bool:
        return self.before is None


class _StateNews(NamedTuple):
    """Entries to tell, keys to tell that they are gone, and all keys that changed, wished for or not."""

    told: Mapping[StateKey, str]
    deleted: Collection[StateKey]
    changed: Collection[StateKey]


class SlidingRooms:
    """Builds the results of rooms."""

    def __init__(
        self,
        database: Database,
        rooms: Rooms,
        events: EventStore,
        groups: StateGroups,
        visibility: Visibility,
        newest: NewestEvents,
        heroes: Heroes,
        stripped: StrippedRooms,
        client_events: ClientEvents,
    ) -> None:
        self._database = database
        self._rooms = rooms
        self._events = events
        self._groups = groups
        self._visibility = visibility
        self._newest = newest
        self._heroes = heroes
        self._stripped = stripped
        self._client_events = client_events

    # Rooms the user is in

    async def load_bumps(self, rooms: Sequence[Room]) -> None:
        """Find out when something last happened in rooms of which that is not known."""
        unknown = {room.room_id: room for room in rooms if room.bumped_at is None}
        if unknown:
            for room_id, position in (await self._database.read(load_bumps, list(unknown))).items():
                unknown[room_id].bumped_at = max(position, unknown[room_id].bumped_at or 0)

    async def joined(
        self, turn: Turn, look: Look, room: Room, unread: UnreadCounts | None, *, own_receipt: bool
    ) -> RoomNews:
        """A room the user is in. `own_receipt`: the user has read on, so that the counts may be others."""
        before = look.before
        limit = look.config.timeline_limit
        expanded = before is not None and limit > before.events
        viewer = Viewer(turn.reader.user_id, "join")
        timeline = await self._newest.read(
            room,
            viewer,
            _EVERYTHING,
            limit,
            turn.reader.ignored,
            after=0 if look.is_new or expanded else look.after,
            up_to=turn.up_to,
        )
        state = await self._state(turn, look, room)
        members = self._lazy_members(turn, look, timeline, state.changed) if _is_lazy(look) else set()
        told = self._told(turn, look, timeline, "join", expanded=expanded)
        has_news = (
            look.is_new
            or expanded
            or bool(timeline.events or state.told or state.deleted or members)
            or (timeline.limited and limit == 0)
            or (before is not None and before.is_dm != look.is_dm)
            or (own_receipt and turn.request.wants_counts)
        )
        if not has_news:
            return RoomNews(None, told)
        body: dict[str, Any] = {"membership": "join"}
        if look.is_new:
            body["initial"] = True
        elif expanded:
            body["expanded_timeline"] = True
        await self._add_summary(turn, look, room, state.changed, body)
        await self._add_state(turn, room, state, members, body)
        await self._add_timeline(turn, timeline, body)
        bumped_at = room.bumped_at or look.found.position
        if look.is_new or bumped_at > look.after:
            body["bump_stamp"] = bumped_at
        if unread is not None:
            body["notification_count"] = unread.total.notifications
            body["highlight_count"] = unread.total.highlights
        return RoomNews(body, told, [stored.event_id for stored in timeline.events])

    def _told(self, turn: Turn, look: Look, timeline: TimelinePart, kind: str, *, expanded: bool) -> Told:
        before = look.before
        if before is None or expanded or timeline.limited:
            events = len(timeline.events) if timeline.limited else EVERY_EVENT
            if before is None or expanded:
                # The client has as many as it wanted, however many of them it may see.
                events = max(events, look.config.timeline_limit)
        else:
            events = before.events
        number = turn.connection.number_of(look.config.required_state)
        return Told(LIVE, number, events, kind, look.is_dm)

    async def _state(self, turn: Turn, look: Look, room: Room) -> _StateNews:
        wanted = look.config.required_state
        current: Mapping[StateKey, str] = room.state
        if room.latest_position > turn.up_to:
            current = await self._groups.load_at(room.room_id, turn.up_to)
        if look.before is None:
            return _StateNews(wanted.of(current), (), current.keys())
        changed = await self._changed_state(room, current, look.after, turn.up_to)
        told = {key: current[key] for key in changed if key in current and wanted.matches(key)}
        had = turn.connection.selections[look.before.selection]
        if had != wanted:
            told.update((key, event_id) for key, event_id in wanted.of(current).items() if not had.matches(key))
        deleted = [key for key in changed if key not in current and wanted.matches(key)]
        return _StateNews(told, deleted, changed)

    async def _changed_state(
        self, room: Room, current: Mapping[StateKey, str], after: int, up_to: int
    ) -> Collection[StateKey]:
        if room.latest_position <= after:
            return ()
        events = room.newest(after, up_to, _MOST_FROM_MEMORY)
        if events is not None and len(events) < _MOST_FROM_MEMORY and room.followed_since(after):
            return {stored.event.key for stored in events if stored.event.is_state}
        before = await self._groups.load_at(room.room_id, after)
        return {key for key in current.keys() | before.keys() if current.get(key) != before.get(key)}

    @staticmethod
    def _lazy_members(turn: Turn, look: Look, timeline: TimelinePart, changed: Collection[StateKey]) -> set[str]:
        """Members the client needs: senders and subjects of what it is shown, and whoever changed while it watched."""
        connection, room_id = turn.connection, look.found.room_id
        needed = {stored.event.sender for stored in timeline.events}
        needed |= {stored.event.key[1] for stored in timeline.events if stored.event.type == MEMBER}
        # Above the token that the client has, and not above the one it is about to get.
        mark = (turn.up_to, 0 if turn.up_to > turn.after else connection.highest + 1)
        if look.is_new or timeline.limited:
            connection.forget_members(room_id)
            fresh: set[str] = set()
        else:
            fresh = {state_key for event_type, state_key in changed if event_type == MEMBER}
        return fresh | connection.unknown_members(room_id, needed, mark, (turn.after, connection.step))

    async def _add_summary(
        self, turn: Turn, look: Look, room: Room, changed: Collection[StateKey], body: dict[str, Any]
    ) -> None:
        before = look.before
        shown = [key for key in (_NAME, _AVATAR) if look.is_new or key in changed]
        found = await self._events.get_state(room.state, shown) if shown else {}
        for key, name, field in ((_NAME, "name", "name"), (_AVATAR, "avatar", "url")):
            value = _text(found[key].content.get(field)) if key in found else None
            # A new room has no name; of one that is known the name is gone.
            if key in shown and not (look.is_new and value is None):
                body[name] = value
        if (before is None and look.is_dm) or (before is not None and before.is_dm != look.is_dm):
            body["is_dm"] = look.is_dm
        members_changed = look.is_new or any(event_type == MEMBER for event_type, _ in changed)
        if members_changed:
            body["joined_count"] = room.members.joined
            body["invited_count"] = room.members.invited
        if (members_changed or _NAME in changed) and not await self._has_name(room):
            body["heroes"] = await self._hero_profiles(room, turn.reader.user_id)

    async def _has_name(self, room: Room) -> bool:
        named = (await self._events.get_state(room.state, [_NAME])).get(_NAME)
        return named is not None and bool(_text(named.content.get("name")))

    async def _hero_profiles(self, room: Room, user_id: str) -> list[dict[str, Any]]:
        heroes = await self._heroes.of(room, user_id)
        members = await self._events.get_state(room.state, [(MEMBER, hero) for hero in heroes])
        profiles = []
        for hero in heroes:
            profile: dict[str, Any] = {"user_id": hero}
            member = members.get((MEMBER, hero))
            for name in ("displayname", "avatar_url"):
                value = _text(member.content.get(name)) if member is not None else None
                if value is not None:
                    profile[name] = value
            profiles.append(profile)
        return profiles

    async def _add_state(
        self, turn: Turn, room: Room, state: _StateNews, members: Collection[str], body: dict[str, Any]
    ) -> None:
        wanted = dict(state.told)
        wanted.update((key, room.state[key]) for key in ((MEMBER, user_id) for user_id in members) if key in room.state)
        if wanted:
            found = await self._events.get_many(wanted.values())
            events = [found[event_id] for event_id in wanted.values() if event_id in found]
            body["required_state"] = self._client_events.render_plain(events, turn.reader, with_room_id=False)
        elif body.get("initial"):
            body["required_state"] = []
        if state.deleted:
            body["deleted_state"] = [{"type": kind, "state_key": state_key} for kind, state_key in state.deleted]

    async def _add_timeline(self, turn: Turn, timeline: TimelinePart, body: dict[str, Any]) -> None:
        if not timeline.events and not timeline.limited and not body.get("initial"):
            return
        body["timeline"] = await self._client_events.render(timeline.events, turn.reader, with_room_id=False)
        body["prev_batch"] = timeline.prev_batch
        body["limited"] = timeline.limited
        live = 0 if turn.initial else sum((stored.position or 0) > turn.after for stored in timeline.events)
        body["num_live"] = live

    # Rooms the user is not in

    async def outside(self, turn: Turn, look: Look) -> RoomNews:
        """A room the user is invited to or knocks on."""
        found = look.found
        told = Told(LIVE, turn.connection.number_of(look.config.required_state), 0, found.membership, look.is_dm)
        if found.membership == "invite" and found.sender in turn.reader.ignored:
            return RoomNews(None, None)
        if look.before is not None and found.position <= look.after:
            return RoomNews(None, told)
        room = await self._rooms.find(found.room_id)
        body: dict[str, Any] = {
            "membership": found.membership,
            "initial": True,
            "stripped_state": await self._stripped.stripped_state(room, found, turn.reader.user_id),
            "bump_stamp": found.position,
        }
        if look.is_dm:
            body["is_dm"] = True
        return RoomNews(body, told)

    async def left(self, turn: Turn, look: Look) -> RoomNews:
        """A room the user has left since it was told, or was put out of."""
        found, before = look.found, look.before
        told = Told(LIVE, turn.connection.number_of(look.config.required_state), 0, "left", False)
        if before is not None and before.kind == "left":
            return RoomNews(None, before)
        if look.is_new and found.forgotten:
            return RoomNews(None, None)
        body: dict[str, Any] = {"membership": found.membership, "bump_stamp": found.position}
        if look.is_new:
            body["initial"] = True
        member = await self._events.find(found.event_id)
        state = [member] if member is not None else []
        room = await self._rooms.find(found.room_id)
        if room is None:
            body["required_state"] = self._client_events.render_plain(state, turn.reader, with_room_id=False)
            return RoomNews(body, told)
        viewer = await self._visibility.find_viewer(turn.reader.user_id, room)
        if viewer is None and look.is_new:
            # Never in it, or they asked to forget it.
            return RoomNews(None, None)
        if viewer is None:
            viewer = Viewer(turn.reader.user_id, found.membership, found.position)
        was_in = before is not None and before.kind == "join"
        after = look.after if was_in else 0 if viewer.joins else found.position - 1
        timeline = await self._newest.read(
            room,
            viewer,
            _EVERYTHING,
            look.config.timeline_limit,
            turn.reader.ignored,
            after=after,
            up_to=found.position,
        )
        if look.is_new and viewer.joins:
            then = look.config.required_state.of(await self._groups.load_at(room.room_id, found.position))
            stored = await self._events.get_many(then.values())
            state = [*(event for event_id, event in stored.items() if event_id != found.event_id), *state]
        body["required_state"] = self._client_events.render_plain(state, turn.reader, with_room_id=False)
        await self._add_timeline(turn, timeline, body)
        return RoomNews(body, told, [event.event_id for event in timeline.events])


def _is_lazy(look: Look) -> bool:
    return look.config.required_state.lazy_members


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
