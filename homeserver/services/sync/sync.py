"""Answers `/sync`: gathers what happened in a span of the log, or waits until something does.

Spec: client-server-api #syncing
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from homeserver.runtime.clock import Clock
from homeserver.services.ephemeral import EphemeralCounter
from homeserver.services.push.unread import Unread
from homeserver.services.rooms.client_events import Reader
from homeserver.services.rooms.room import Room, Rooms
from homeserver.services.rooms.visibility import Viewer, Visibility
from homeserver.services.sync.device_lists import DeviceLists, Encounters, members_of
from homeserver.services.sync.hub import SyncHub, Watched
from homeserver.services.sync.joined_room import JoinedRooms
from homeserver.services.sync.other_rooms import StrippedRooms
from homeserver.services.sync.own_memberships import OwnMemberships
from homeserver.services.sync.request import DeviceNews, PresenceNews, Span, SyncRequest, UserNews
from homeserver.services.tokens import SyncToken
from homeserver.storage.changed_rooms import load_changed_rooms
from homeserver.storage.database import Database
from homeserver.storage.memberships import Membership
from homeserver.storage.receipts import Receipt, load_receipts

LONGEST_WAIT_MS = 300_000
_OUTSIDE = frozenset({"leave", "ban"})


class Sync:
    """The use case behind `GET /sync`."""

    def __init__(
        self,
        database: Database,
        rooms: Rooms,
        hub: SyncHub,
        joined: JoinedRooms,
        stripped: StrippedRooms,
        visibility: Visibility,
        own: OwnMemberships,
        device_lists: DeviceLists,
        unread: Unread,
        devices: DeviceNews,
        users: UserNews,
        presence: PresenceNews,
        ephemeral: EphemeralCounter,
        clock: Clock,
    ) -> None:
        self._database = database
        self._rooms = rooms
        self._hub = hub
        self._joined = joined
        self._stripped = stripped
        self._visibility = visibility
        self._own = own
        self._device_lists = device_lists
        self._unread = unread
        self._devices = devices
        self._users = users
        self._presence = presence
        self._ephemeral = ephemeral
        self._clock = clock

    async def sync(self, request: SyncRequest) -> dict[str, Any]:
        """The answer's body. Waits up to `timeout_ms` when there is nothing to tell yet."""
        self._presence.seen_syncing(request.user_id, request.set_presence, request.timeout_ms)
        watched = await self._hub.watch(request.user_id)
        deadline = self._clock.monotonic() + min(request.timeout_ms, LONGEST_WAIT_MS) / 1000
        since = request.since
        while True:
            # Taken before the answer is made: what happens while it is being made is still to be told.
            seen = SyncToken(self._hub.position, self._ephemeral.value)
            body, has_news = await self._answer(request, watched)
            remaining = deadline - self._clock.monotonic()
            if has_news or since is None or request.full_state or remaining <= 0:
                return body
            if not await self._hub.wait(watched, seen, remaining):
                return body
            watched = await self._hub.watch(request.user_id)

    def now(self) -> SyncToken:
        """The token of a client that has seen everything up to now."""
        return SyncToken(self._hub.position, self._ephemeral.value, self._hub.position)

    async def _answer(self, request: SyncRequest, watched: Watched) -> tuple[dict[str, Any], bool]:
        since = request.since
        position = max(self._hub.position, since.position if since is not None else 0)
        ephemeral = max(self._ephemeral.value, since.ephemeral if since is not None else 0)
        if since is not None and not request.full_state and not watched.has_news(since):
            return await self._nothing_new(request, since, position)
        reader = Reader(request.user_id, request.device_id, await self._users.ignored_users(request.user_id))
        span = Span(
            request,
            reader,
            watched,
            after=since.position if since is not None else 0,
            up_to=position,
            ephemeral_after=since.ephemeral if since is not None else 0,
            ephemeral=ephemeral,
        )
        return await self._gather(span)

    async def _nothing_new(self, request: SyncRequest, since: SyncToken, position: int) -> tuple[dict[str, Any], bool]:
        # Also when nothing is new: the token says which messages have arrived, and these may go.
        # Of what is fleeting it promises nothing new: presence has its number before those concerned are told.
        body: dict[str, Any] = {}
        waiting = await self._add_device(body, request, since.to_device, position, since.ephemeral, position)
        return body, waiting

    async def _gather(self, span: Span) -> tuple[dict[str, Any], bool]:
        body: dict[str, Any] = {}
        rooms, has_news, met = await self._room_parts(span)
        if rooms:
            body["rooms"] = rooms
        has_news |= await self._add_account_data(body, span)
        has_news |= await self._add_presence(body, span)
        request, since = span.request, span.request.since
        to_device_after = since.to_device if since is not None else 0
        has_news |= await self._add_device(body, request, to_device_after, span.up_to, span.ephemeral, span.up_to)
        if not span.initial:
            has_news |= await self._add_device_lists(body, span, met)
        return body, has_news

    # Rooms

    async def _room_parts(self, span: Span) -> tuple[dict[str, Any], bool, Encounters]:
        memberships = await self._memberships_to_tell(span)
        account_data = await self._room_account_data(span)
        for room_id in account_data:
            found = span.watched.memberships.get(room_id)
            if found is not None and found.membership == "join":
                memberships.setdefault(room_id, found)
        allowed = {room_id: found for room_id, found in memberships.items() if span.request.filter.allows_room(room_id)}
        joined = [room_id for room_id, found in allowed.items() if found.membership == "join"]
        rooms = {room_id: await self._rooms.get(room_id) for room_id in joined}
        news_since = {room_id: await self._news_since(span, allowed[room_id]) for room_id in joined}
        receipts = await self._receipts(span, joined, news_since)
        counts = await self._unread.counts(span.reader.user_id, list(rooms.values()), span.up_to)
        parts: dict[str, dict[str, Any]] = defaultdict(dict)
        met = Encounters()
        has_news = False
        for room_id, room in rooms.items():
            part = await self._joined.build(
                span,
                room,
                Viewer(span.reader.user_id, "join"),
                after=news_since[room_id],
                receipts=receipts.get(room_id, ()),
                account_data=account_data.get(room_id, ()),
                unread=counts.get(room_id),
            )
            if part.has_news or span.whole or news_since[room_id] == 0 or self._is_news_of_counts(span, room_id):
                parts["join"][room_id] = part.body
                has_news = True
            self._note_changes(met, span, room, part.membership_changes, is_new=news_since[room_id] == 0)
        for room_id, found in allowed.items():
            if found.membership == "join":
                continue
            kind, other = await self._other_part(span, found, met)
            if other is not None:
                parts[kind][room_id] = other
                has_news = True
        return dict(parts), has_news, met

    async def _memberships_to_tell(self, span: Span) -> dict[str, Membership]:
        """The rooms in which something may have happened that the client is to hear of."""
        watched = span.watched
        if span.whole:
            return {
                room_id: found
                for room_id, found in watched.memberships.items()
                if not found.forgotten and self._is_told_whole(span, found)
            }
        known = watched.rooms_since(span.after)
        if known is not None:
            changed = set(known) | {room_id for room_id, at in watched.typing.items() if at > span.ephemeral_after}
        else:
            loaded = await self._database.read(load_changed_rooms, span.reader.user_id, span.after)
            changed = set(loaded) | set(watched.typing)
        return {room_id: found for room_id in changed if (found := watched.memberships.get(room_id)) is not None}

    @staticmethod
    def _is_told_whole(span: Span, found: Membership) -> bool:
        if found.membership not in _OUTSIDE:
            return True
        return span.request.filter.room.include_leave or (not span.initial and found.position > span.after)

    async def _news_since(self, span: Span, found: Membership) -> int:
        """From where on the room is news: 0 for one the user has come into since."""
        if span.initial or not await self._own.came_since(found, span.reader.user_id, span.after):
            return span.after
        return 0

    async def _receipts(
        self, span: Span, joined: Sequence[str], news_since: dict[str, int]
    ) -> dict[str, list[Receipt]]:
        by_room: dict[str, list[Receipt]] = defaultdict(list)
        known = [room_id for room_id in joined if news_since[room_id] == span.after and not span.request.full_state]
        unknown = [room_id for room_id in joined if room_id not in set(known)]
        for room_ids, after in ((known, span.after), (unknown, 0)):
            if room_ids and (after == 0 or self._may_have_receipts(span, room_ids)):
                for receipt in await self._database.read(load_receipts, room_ids, after, span.up_to):
                    by_room[receipt.room_id].append(receipt)
        return by_room

    @staticmethod
    def _may_have_receipts(span: Span, room_ids: Iterable[str]) -> bool:
        watched = span.watched
        if span.after < watched.base:
            return True
        return any(watched.receipts.get(room_id, 0) > span.after for room_id in room_ids)

    @staticmethod
    def _is_news_of_counts(span: Span, room_id: str) -> bool:
        """The user's own receipt, from another device, changes the counts and nothing else."""
        return span.watched.receipts.get(room_id, 0) > span.after

    async def _other_part(self, span: Span, found: Membership, met: Encounters) -> tuple[str, dict[str, Any] | None]:
        if found.membership in {"invite", "knock"}:
            if not span.whole and found.position <= span.after:
                return found.membership, None
            if found.membership == "invite" and found.sender in span.reader.ignored:
                return "invite", None
            room = await self._rooms.find(found.room_id)
            state = await self._stripped.stripped_state(room, found, span.reader.user_id)
            return found.membership, {f"{found.membership}_state": {"events": state}}
        return "leave", await self._left_part(span, found, met)

    async def _left_part(self, span: Span, found: Membership, met: Encounters) -> dict[str, Any] | None:
        if found.forgotten or (not span.whole and found.position <= span.after):
            return None
        room = await self._rooms.find(found.room_id)
        if room is None:
            return {"timeline": {"events": [], "limited": False}, "state": {"events": []}}
        own = await self._visibility.find_viewer(span.reader.user_id, room)
        if own is None:
            own = Viewer(span.reader.user_id, found.membership, found.position)
        was_in = bool(own.joins) and (
            span.whole or await self._own.was_in_since(found, span.reader.user_id, span.after)
        )
        after = span.after if was_in else max(0, found.position - 1)
        part = await self._joined.build(
            span, room, own, after=after, receipts=(), account_data=(), unread=None, up_to=found.position
        )
        if was_in:
            met.went |= members_of(room)
        return {
            name: part.body[name] for name in ("timeline", "state", "state_after", "account_data") if name in part.body
        }

    # Everything outside rooms

    async def _room_account_data(self, span: Span) -> dict[str, list[tuple[str, bytes]]]:
        after = 0 if span.whole else span.after
        if not span.whole and not span.watched.changed("account_data", after):
            return {}
        return await self._users.room_account_data(span.reader.user_id, after)

    async def _add_account_data(self, body: dict[str, Any], span: Span) -> bool:
        after = 0 if span.whole else span.after
        if not span.whole and not span.watched.changed("account_data", after):
            return False
        wanted = span.request.filter.account_data
        events = [
            {"type": kind, "content": orjson.Fragment(content)}
            for kind, content in await self._users.global_account_data(span.reader.user_id, after)
            if wanted.accepts(kind, span.reader.user_id)
        ]
        if events:
            body["account_data"] = {"events": events}
        return bool(events)

    async def _add_presence(self, body: dict[str, Any], span: Span) -> bool:
        after = 0 if span.whole else span.ephemeral_after
        if span.ephemeral <= after:
            return False
        wanted = span.request.filter.presence
        events = [
            event
            for event in await self._presence.changes(span.reader.user_id, after)
            if wanted.accepts("m.presence", event["sender"])
        ]
        if events:
            body["presence"] = {"events": events}
        return bool(events)

    async def _add_device(
        self, body: dict[str, Any], request: SyncRequest, after: int, position: int, ephemeral: int, up_to: int
    ) -> bool:
        if request.device_id is None:
            body["next_batch"] = str(SyncToken(position, ephemeral, up_to))
            return False
        found = await self._devices.to_device(request.user_id, request.device_id, after, up_to)
        if found.events:
            body["to_device"] = {"events": found.events}
        reached = found.up_to if found.more else up_to
        body["next_batch"] = str(SyncToken(position, ephemeral, reached))
        await self._add_key_counts(body, request)
        return bool(found.events)

    async def _add_key_counts(self, body: dict[str, Any], request: SyncRequest) -> None:
        if request.device_id is None:
            return
        counts = await self._devices.key_counts(request.user_id, request.device_id)
        body["device_one_time_keys_count"] = counts.one_time
        body["device_unused_fallback_key_types"] = list(counts.unused_fallback)

    async def _add_device_lists(self, body: dict[str, Any], span: Span, met: Encounters) -> bool:
        changes = await self._device_lists.changes(span.watched, span.after, span.up_to, met)
        if changes is not None:
            body["device_lists"] = changes
        return changes is not None

    @staticmethod
    def _note_changes(met: Encounters, span: Span, room: Room, memberships: Mapping[str, str], *, is_new: bool) -> None:
        if span.initial:
            return
        if is_new:
            met.came |= members_of(room)
        for user_id, membership in memberships.items():
            met.note(user_id, membership)
