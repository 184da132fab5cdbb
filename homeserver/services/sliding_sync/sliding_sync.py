"""Answers sliding sync: tells the rooms a client looks at, or waits until something happens in one of them.

Spec: MSC4186
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from homeserver.runtime.clock import Clock
from homeserver.services.ephemeral import EphemeralCounter
from homeserver.services.push.unread import Unread
from homeserver.services.rooms.client_events import Reader
from homeserver.services.rooms.room import Room, Rooms
from homeserver.services.sliding_sync.connections import LIVE, Connection, Connections, Told
from homeserver.services.sliding_sync.extensions import RoomFacts, SlidingExtensions
from homeserver.services.sliding_sync.lists import RoomLists, Window
from homeserver.services.sliding_sync.request import RoomConfig, SlidingAnswer, SlidingRequest, ToldRooms, Turn
from homeserver.services.sliding_sync.required_state import combined
from homeserver.services.sliding_sync.rooms import Look, RoomNews, SlidingRooms
from homeserver.services.sync.hub import SyncHub
from homeserver.services.sync.request import PresenceNews, UserNews
from homeserver.services.tokens import ConnectionToken, SyncToken
from homeserver.storage.changed_rooms import load_changed_rooms
from homeserver.storage.database import Database
from homeserver.storage.memberships import Membership
from homeserver.storage.receipts import Receipt, load_receipts

LONGEST_WAIT_MS = 300_000
_OUTSIDE = frozenset({"leave", "ban"})
_EVENTS_OF_A_LEFT_ROOM = 10


@dataclass(slots=True)
class _View:
    """What the client looks at: its windows, and the wishes for each room that follow from them."""

    request: SlidingRequest
    windows: Mapping[str, Window]
    _combined: dict[tuple[tuple[str, ...], RoomConfig | None], RoomConfig] = field(default_factory=dict)

    def lists_of(self, room_id: str) -> tuple[str, ...]:
        """The lists in whose windows a room is."""
        return tuple(name for name, window in self.windows.items() if room_id in window.rooms)

    def config_of(self, room_id: str) -> RoomConfig | None:
        """How much to tell of a room; None for one that the client does not look at."""
        names, subscribed = self.lists_of(room_id), self.request.subscriptions.get(room_id)
        config = self._combined.get((names, subscribed))
        if config is None:
            wishes = [self.request.lists[name].config for name in names]
            if subscribed is not None:
                wishes.append(subscribed)
            if not wishes:
                return None
            limit = max(wish.timeline_limit for wish in wishes)
            config = RoomConfig(limit, combined(wish.required_state for wish in wishes))
            self._combined[names, subscribed] = config
        return config

    def everything(self) -> set[str]:
        """All rooms the client looks at."""
        return {room_id for window in self.windows.values() for room_id in window.rooms} | set(
            self.request.subscriptions
        )

    @property
    def mark(self) -> Any:
        """Equal for views of the same rooms with the same wishes."""
        lists = {name: (window.mark, self.request.lists[name].config) for name, window in self.windows.items()}
        return lists, dict(self.request.subscriptions)


@dataclass(slots=True)
class _Draft:
    """An answer that may yet be given up for a better one. `changes` is what it tells, `mark` what was looked at."""

    turn: Turn
    answer: SlidingAnswer
    changes: dict[str, Told | None]
    mark: Any
    has_news: bool


class SlidingSync:
    """The use case behind `POST /sync`."""

    def __init__(
        self,
        database: Database,
        rooms: Rooms,
        hub: SyncHub,
        connections: Connections,
        lists: RoomLists,
        sliding_rooms: SlidingRooms,
        extensions: SlidingExtensions,
        unread: Unread,
        users: UserNews,
        presence: PresenceNews,
        ephemeral: EphemeralCounter,
        clock: Clock,
    ) -> None:
        self._database = database
        self._rooms = rooms
        self._hub = hub
        self._connections = connections
        self._lists = lists
        self._sliding_rooms = sliding_rooms
        self._extensions = extensions
        self._unread = unread
        self._users = users
        self._presence = presence
        self._ephemeral = ephemeral
        self._clock = clock

    async def sync(self, request: SlidingRequest) -> SlidingAnswer:
        """The answer. Waits up to `timeout_ms` when there is nothing to tell yet. Raises M_UNKNOWN_POS."""
        self._presence.seen_syncing(request.user_id, request.set_presence, request.timeout_ms)
        connection, token = await self._connection(request)
        connection.turns += 1
        turn = connection.turns
        watched = await self._hub.watch(request.user_id)
        deadline = self._clock.monotonic() + min(request.timeout_ms, LONGEST_WAIT_MS) / 1000
        while True:
            # Taken before the answer is made: what happens while it is being made is still to be told.
            seen = SyncToken(self._hub.position, self._ephemeral.value)
            async with connection.lock:
                if connection.turns != turn:
                    # The client gave this request up for another one, and will not read the answer.
                    return SlidingAnswer(request.pos or "")
                draft = await self._draft(request, connection, token)
                remaining = deadline - self._clock.monotonic()
                if draft.has_news or token is None or remaining <= 0:
                    return await self._give_out(draft)
            if not await self._hub.wait(watched, seen, remaining):
                async with connection.lock:
                    return await self._give_out(draft) if connection.turns == turn else draft.answer
            watched = await self._hub.watch(request.user_id)

    async def _give_out(self, draft: _Draft) -> SlidingAnswer:
        """Remember what the answer tells, and put its token into it."""
        turn, connection = draft.turn, draft.turn.connection
        step = await self._connections.give_out(connection, draft.changes, turn.request.extensions.about_rooms)
        connection.request = _asked(turn.request)
        connection.counts = draft.answer.lists
        connection.settled = (step, draft.mark)
        draft.answer.pos = str(ConnectionToken(turn.up_to, turn.ephemeral, connection.nid, step))
        return draft.answer

    async def _connection(self, request: SlidingRequest) -> tuple[Connection, ConnectionToken | None]:
        device_id = request.device_id or ""
        if request.pos is None:
            return self._connections.begin(request.user_id, device_id, request.name), None
        return await self._connections.resume(request.pos, request.user_id, device_id, request.name)

    async def _draft(self, request: SlidingRequest, connection: Connection, token: ConnectionToken | None) -> _Draft:
        if token is not None:
            await self._connections.rewind(connection, token.step)
        watched = await self._hub.watch(request.user_id)
        turn = Turn(
            request,
            Reader(request.user_id, request.device_id, await self._users.ignored_users(request.user_id)),
            watched,
            connection,
            after=token.position if token is not None else 0,
            up_to=max(self._hub.position, token.position if token is not None else 0),
            ephemeral_after=token.ephemeral if token is not None else 0,
            ephemeral=max(self._ephemeral.value, token.ephemeral if token is not None else 0),
        )
        is_same = connection.request == _asked(request)
        settled = connection.settled
        if (
            token is not None
            and is_same
            and settled is not None
            and settled[0] == connection.step
            and not watched.has_news(SyncToken(token.position, token.ephemeral))
        ):
            extensions, has_news = await self._extensions.of_device(turn)
            answer = SlidingAnswer("", dict(connection.counts), extensions=extensions)
            return _Draft(turn, answer, {}, settled[1], has_news)
        draft = await self._gather(turn)
        draft.has_news |= not is_same
        return draft

    async def _gather(self, turn: Turn) -> _Draft:
        view = _View(turn.request, await self._lists.windows(turn.watched, turn.request.lists))
        changed = await self._changed_rooms(turn)
        account_data = await self._account_data(turn, view)
        looks = await self._looks(turn, view, changed)
        receipts = await self._receipts(turn, looks)
        rooms, told, changes = await self._rooms_told(turn, view, looks, receipts)
        self._note_unseen(turn, view, {*changed, *account_data}, changes)
        facts = RoomFacts(told, view.windows, receipts, account_data)
        extensions, has_news = await self._extensions.of_device(turn)
        has_news |= await self._extensions.add_device_lists(turn, extensions)
        more, has_more = await self._extensions.of_rooms(turn, facts)
        counts = {name: window.count for name, window in view.windows.items()}
        answer = SlidingAnswer("", counts, rooms, {**extensions, **more})
        return _Draft(turn, answer, changes, view.mark, bool(rooms) or has_news or has_more)

    # Which rooms may have something to tell

    async def _changed_rooms(self, turn: Turn) -> Collection[str]:
        if turn.initial:
            return ()
        known = turn.watched.rooms_since(turn.after)
        if known is not None:
            return known
        return await self._database.read(load_changed_rooms, turn.reader.user_id, turn.after)

    async def _account_data(self, turn: Turn, view: _View) -> Mapping[str, list[tuple[str, bytes]]]:
        """Account data of rooms that changed since the client was told."""
        if turn.initial or turn.request.extensions.account_data is None:
            return {}
        behind = [
            told.up_to for room_id, told in turn.connection.rooms.items() if told.up_to and view.config_of(room_id)
        ]
        after = min([turn.after, *behind])
        if not turn.watched.changed("account_data", after):
            return {}
        return await self._users.room_account_data(turn.reader.user_id, after)

    async def _looks(self, turn: Turn, view: _View, changed: Collection[str]) -> list[Look]:
        """The rooms to look into: those with news, and those whose client lacks something it wishes for."""
        connection, watched = turn.connection, turn.watched
        candidates = dict.fromkeys(changed)
        if connection.settled != (connection.step, view.mark):
            candidates.update(
                dict.fromkeys(room_id for room_id in view.everything() if self._lacks(turn, view, room_id))
            )
        direct: Collection[str] = ()
        if candidates or watched.changed("account_data", turn.after):
            direct = (await self._lists.personal(watched)).direct
            if watched.changed("account_data", turn.after):
                candidates.update(
                    (room_id, None) for room_id, told in connection.rooms.items() if told.is_dm != (room_id in direct)
                )
        looks = (self._look(turn, view, room_id, direct) for room_id in candidates)
        return [look for look in looks if look is not None]

    @staticmethod
    def _lacks(turn: Turn, view: _View, room_id: str) -> bool:
        told = turn.connection.rooms.get(room_id)
        if told is None or told.up_to != LIVE:
            return True
        config = view.config_of(room_id)
        return config is not None and (
            config.timeline_limit > told.events or turn.connection.selections[told.selection] != config.required_state
        )

    @staticmethod
    def _look(turn: Turn, view: _View, room_id: str, direct: Collection[str]) -> Look | None:
        connection = turn.connection
        found = turn.watched.memberships.get(room_id)
        if found is None:
            return None
        before, config = connection.rooms.get(room_id), view.config_of(room_id)
        is_outside = found.membership in _OUTSIDE
        if config is None:
            # Who knows a room hears that they have left it, wherever they look.
            if not is_outside or before is None or before.kind == "left":
                return None
            config = RoomConfig(_EVENTS_OF_A_LEFT_ROOM, connection.selections[before.selection])
        if before is not None and not is_outside and before.kind != found.membership:
            before = None
        after = 0 if before is None else before.up_to or turn.after
        return Look(found, config, before, room_id in direct, after)

    # What they have to tell

    async def _rooms_told(
        self, turn: Turn, view: _View, looks: Sequence[Look], receipts: Sequence[Receipt]
    ) -> tuple[dict[str, dict[str, Any]], ToldRooms, dict[str, Told | None]]:
        joined = {
            look.found.room_id: await self._rooms.get(look.found.room_id) for look in looks if _is_joined(look.found)
        }
        await self._sliding_rooms.load_bumps(list(joined.values()))
        read_on = {receipt.room_id for receipt in receipts if receipt.user_id == turn.reader.user_id}
        bodies: dict[str, dict[str, Any]] = {}
        told = ToldRooms()
        changes: dict[str, Told | None] = {}
        counts = {}
        if turn.request.wants_counts:
            counts = await self._unread.counts(turn.reader.user_id, list(joined.values()), turn.up_to)
        for look in looks:
            room_id = look.found.room_id
            room: Room | None = joined.get(room_id)
            news: RoomNews
            if room is not None:
                unread = counts.get(room_id)
                news = await self._sliding_rooms.joined(turn, look, room, unread, own_receipt=room_id in read_on)
            elif look.found.membership in _OUTSIDE:
                news = await self._sliding_rooms.left(turn, look)
            else:
                news = await self._sliding_rooms.outside(turn, look)
            if news.body is not None:
                names = view.lists_of(room_id)
                bodies[room_id] = {**news.body, "lists": list(names)} if names else news.body
            told.since[room_id] = look.after
            told.shown_events[room_id] = news.shown_events
            if news.told != turn.connection.rooms.get(room_id):
                changes[room_id] = news.told
        return bodies, told, changes

    @staticmethod
    def _note_unseen(turn: Turn, view: _View, changed: Collection[str], changes: dict[str, Told | None]) -> None:
        """Remember how far the client has rooms that it knows and does not look at now."""
        for room_id in changed:
            told = turn.connection.rooms.get(room_id)
            if told is not None and told.up_to == LIVE and room_id not in changes and view.config_of(room_id) is None:
                changes[room_id] = told._replace(up_to=turn.after)

    async def _receipts(self, turn: Turn, looks: Sequence[Look]) -> list[Receipt]:
        """Receipts in rooms that the client knows, since the earliest position any of them was told up to."""
        if turn.request.extensions.receipts is None and not turn.request.wants_counts:
            return []
        since = {look.found.room_id: look.after for look in looks if look.after and _is_joined(look.found)}
        watched = turn.watched
        with_news = [
            room_id
            for room_id, after in since.items()
            if after < watched.base or watched.receipts.get(room_id, 0) > after
        ]
        if not with_news:
            return []
        after = min(since[room_id] for room_id in with_news)
        return await self._database.read(load_receipts, with_news, after, turn.up_to)


def _is_joined(found: Membership) -> bool:
    return found.membership == "join"


def _asked(request: SlidingRequest) -> Any:
    """Equal for requests that the same answer fits."""
    return request.lists, request.subscriptions, request.extensions.about_rooms
