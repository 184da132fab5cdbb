"""The way of our own users' events into the log: gather, build, judge and append, under the room's lock.

Other servers' events are gathered and judged by federation, and end in the same `RoomLog` append.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from sqlalchemy.exc import IntegrityError

from homeserver.protocol.canonical_json import CanonicalJsonError
from homeserver.protocol.errors import MatrixError, bad_json, forbidden
from homeserver.protocol.event_auth import authorise
from homeserver.protocol.event_builder import EventDraft, PrevEvent, auth_state_keys, build_event
from homeserver.protocol.event_format import check_client_event_size
from homeserver.protocol.event_hashes import reference_hash_base64
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.power_levels import PowerLevels
from homeserver.protocol.relations import thread_root_of
from homeserver.protocol.room_versions import RoomVersion
from homeserver.protocol.signing import SigningKey
from homeserver.runtime.clock import Clock
from homeserver.runtime.randomness import Randomness
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.redaction import has_power_to_redact
from homeserver.services.rooms.room import Room, Rooms
from homeserver.storage.database import Database, Transaction
from homeserver.storage.events import Mention, StoredEvent, TransactionId
from homeserver.storage.room_log import Append, AppendBatch, Extremity, RoomMoved, append

_CREATE: StateKey = ("m.room.create", "")
_MOST_TRIES = 30
_LONGEST_PAUSE_S = 0.05
_MOST_AT_ONCE = 50
_MOST_PREV_EVENTS = 10


class PushOutcomes(Protocol):
    """Says, when an event is written, whom it is to notify."""

    def of(self, event: Event, power_levels: PowerLevels, members: Mapping[str, str]) -> PushOutcome: ...


@dataclass(frozen=True, slots=True)
class PushOutcome:
    """`notify` is what the predefined rules say of a member who is not singled out: 0 nothing, 1 notify, 2 highlight.

    `mentions` lists the members for whom they say something else.
    """

    notify: int = 0
    mentions: tuple[Mention, ...] = ()


# Stands for a device in the transactions under which delayed events are sent.
DELAYED_EVENT = "delayed_event/"


@dataclass(frozen=True, slots=True)
class SentTransaction:
    """How the sending device named its request, so that a repetition is recognised."""

    device_id: str
    scope: str
    transaction_id: str


MakeDrafts = Callable[[Room], Sequence[EventDraft]]


@dataclass(slots=True, eq=False)
class _Wanted:
    """Somebody's request to write to a room, and where its outcome goes."""

    make_drafts: MakeDrafts
    transaction: SentTransaction | None
    timestamp_ms: int | None
    written: asyncio.Future[Sequence[StoredEvent]]

    def succeed(self, events: Sequence[StoredEvent]) -> None:
        if not self.written.done():
            self.written.set_result(events)

    def fail(self, error: Exception) -> None:
        if not self.written.done():
            self.written.set_exception(error)


@dataclass(slots=True)
class _Chain:
    """Events being built on top of each other, and what they make of the room."""

    state: Mapping[StateKey, str]
    extremities: Sequence[Extremity]
    fresh: dict[str, Event]
    room_id: str | None


class AppendEvent:
    """Builds, judges and writes events of local users."""

    def __init__(
        self,
        database: Database,
        rooms: Rooms,
        events: EventStore,
        push: PushOutcomes,
        clock: Clock,
        randomness: Randomness,
        server_name: str,
        signing_key: SigningKey,
    ) -> None:
        self._latest_created_ms = 0
        self._database = database
        self._rooms = rooms
        self._events = events
        self._push = push
        self._clock = clock
        self._randomness = randomness
        self._server_name = server_name
        self._signing_key = signing_key

    async def append(
        self,
        room_id: str,
        make_drafts: MakeDrafts,
        *,
        transaction: SentTransaction | None = None,
        timestamp_ms: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Write what `make_drafts(room)` asks for, one event on top of the other, all or none.

        `make_drafts` is called under the room's lock, again whenever another process was faster; it may return
        nothing. Raises M_FORBIDDEN with the rule's sentence when an event is not allowed.
        """
        room = await self._rooms.get(room_id)
        wanted = _Wanted(make_drafts, transaction, timestamp_ms, asyncio.get_running_loop().create_future())
        room.waiting.append(wanted)
        if room.writer is None:
            # A task of its own: a client that goes away takes nobody else's event with it.
            room.writer = asyncio.create_task(self._write_waiting(room))
        return await asyncio.shield(wanted.written)

    async def _write_waiting(self, room: Room) -> None:
        """Write what waits for the room's lock: together, because one commit costs the same for many events."""
        try:
            async with room.lock:
                while room.waiting:
                    batch, room.waiting = room.waiting[:_MOST_AT_ONCE], room.waiting[_MOST_AT_ONCE:]
                    await self._write_together(room.room_id, batch)
        finally:
            room.writer = None
            for wanted in room.waiting:
                wanted.fail(_too_busy())

    async def _write_together(self, room_id: str, batch: Sequence[_Wanted]) -> None:
        try:
            await self._write(room_id, batch)
        except IntegrityError as error:
            # One of them repeats a transaction id: find out which by writing each alone.
            if len(batch) == 1:
                batch[0].fail(error)
                return
            for wanted in batch:
                await self._write_together(room_id, [wanted])
        except Exception as error:  # noqa: BLE001 - handed to everybody who waits for this write
            for wanted in batch:
                wanted.fail(error)

    async def _write(self, room_id: str, batch: Sequence[_Wanted]) -> None:
        for attempt in range(_MOST_TRIES):
            room = await self._rooms.get(room_id)
            chain = _chain_of(room)
            built: list[tuple[_Wanted, list[Append]]] = []
            for wanted in batch:
                before = (chain.state, chain.extremities)
                try:
                    built.append((wanted, await self._build_all(chain, room, wanted)))
                except (MatrixError, CanonicalJsonError) as error:
                    wanted.fail(error)
                    chain.state, chain.extremities = before
            appends = [item for _, items in built for item in items]
            if not appends:
                for wanted, _ in built:
                    wanted.succeed(())
                return
            try:
                appended = await self._database.write(append, self._batch_of(room, chain, appends))
            except RoomMoved:
                await self._give_way(room_id, attempt)
                batch = [wanted for wanted, _ in built]
                continue
            written = iter(appended.events)
            for wanted, items in built:
                wanted.succeed([next(written) for _ in items])
            return
        for wanted in batch:
            wanted.fail(_too_busy())

    async def _build_all(self, chain: _Chain, room: Room, wanted: _Wanted) -> list[Append]:
        sent_ms = self._clock.now_ms() if wanted.timestamp_ms is None else wanted.timestamp_ms
        return [
            await self._build(chain, room.version, draft, sent_ms, room.local_members, wanted.transaction)
            for draft in wanted.make_drafts(room)
        ]

    def _batch_of(self, room: Room, chain: _Chain, appends: Sequence[Append]) -> AppendBatch:
        return AppendBatch(
            room.room_id,
            room.version,
            room.revision,
            appends,
            tuple(chain.extremities),
            self._clock.now_ms(),
            self._server_name,
            row=room.handle,
        )

    async def create(
        self,
        version: RoomVersion,
        room_id: str | None,
        drafts: Sequence[EventDraft],
        also: Callable[[Transaction, str], None],
    ) -> str:
        """Write the first events of a new room, the create event first, and return the room's id.

        `room_id` is None where the room version makes it from the create event. `also(tx, room_id)` is called in the
        same transaction, once the room is there.
        """
        for attempt in range(_MOST_TRIES):
            try:
                return await self._create(version, room_id, drafts, also)
            except IntegrityError:
                # Another process has just made the very same room: its creator, content and millisecond are its id.
                if room_id is not None or attempt == _MOST_TRIES - 1:
                    raise
                await self._give_way("", attempt + 1)
        raise _too_busy()

    async def _create(
        self,
        version: RoomVersion,
        room_id: str | None,
        drafts: Sequence[EventDraft],
        also: Callable[[Transaction, str], None],
    ) -> str:
        chain = _Chain(state={}, extremities=(), fresh={}, room_id=room_id)
        now_ms = self._clock.now_ms()
        if room_id is None:
            # Two rooms that are alike and of the same millisecond would be one.
            now_ms = self._latest_created_ms = max(now_ms, self._latest_created_ms + 1)
        appends = [await self._build(chain, version, draft, now_ms, {}, None) for draft in drafts]
        assert chain.room_id is not None
        batch = AppendBatch(
            chain.room_id,
            version,
            None,
            appends,
            tuple(chain.extremities),
            now_ms,
            self._server_name,
        )
        await self._database.write(_append_and, batch, also)
        return chain.room_id

    async def append_built(self, room_id: str, event: Event) -> StoredEvent:
        """Write an event that `build` made and another server has signed too, unless federation has written it."""
        known = await self._events.find(event.event_id)
        if known is not None and known.position is not None:
            return known
        for attempt in range(_MOST_TRIES):
            room = await self._rooms.get(room_id)
            async with room.lock:
                chain = _chain_of(room)
                auth = await self._state_events(chain, auth_state_keys(event, room.version))
                create = (await self._state_events(chain, [_CREATE])).get(_CREATE)
                refusal = authorise(event, auth, create)
                if refusal is not None:
                    raise forbidden(refusal.reason)
                remaining = [extremity for extremity in room.extremities if extremity[0] not in event.prev_event_ids]
                self._advance(chain, room.version, event)
                extremities = (*remaining, *chain.extremities)
                now_ms = self._clock.now_ms()
                batch = AppendBatch(
                    room_id, room.version, room.revision, [Append(event)], extremities, now_ms, self._server_name
                )
                try:
                    return (await self._database.write(append, batch)).events[0]
                except RoomMoved:
                    await self._give_way(room_id, attempt)
        raise _too_busy()

    async def _give_way(self, room_id: str, attempt: int) -> None:
        """Another process was first: judge again, sooner or later than others who want the same."""
        self._rooms.drop(room_id)
        if attempt:
            share = self._randomness.bytes(1)[0] / 255
            await asyncio.sleep(share * min(_LONGEST_PAUSE_S, 0.002 * 2**attempt))

    async def build(self, room: Room, draft: EventDraft) -> Event:
        """A signed and allowed event on top of the room that is not written: what an invite over federation needs."""
        chain = _chain_of(room)
        return (await self._build(chain, room.version, draft, self._clock.now_ms(), {}, None)).event

    async def _build(
        self,
        chain: _Chain,
        version: RoomVersion,
        draft: EventDraft,
        now_ms: int,
        members: Mapping[str, str],
        transaction: SentTransaction | None,
    ) -> Append:
        is_first = not chain.extremities
        if draft.room_id is None and not (is_first and chain.room_id is None):
            draft = replace(draft, room_id=chain.room_id)
        keys = auth_state_keys(draft, version)
        auth = await self._state_events(chain, keys)
        create = auth.get(_CREATE) or (await self._state_events(chain, [_CREATE])).get(_CREATE)
        draft = await self._with_previous(chain, draft)
        event = self._sign(chain, version, draft, list(auth.values()), now_ms)
        check_client_event_size(event)
        refusal = authorise(event, auth, create)
        if refusal is not None:
            raise forbidden(refusal.reason)
        redacts = await self._redacted_target(event, auth, create)
        outcome = self._push.of(event, PowerLevels.of(auth, version, create), members)
        self._advance(chain, version, event)
        return Append(
            event,
            notify=outcome.notify,
            mentions=outcome.mentions,
            thread_root=thread_root_of(event.content),
            redacts=redacts,
            transaction=TransactionId(transaction.device_id, transaction.transaction_id) if transaction else None,
            scope=transaction.scope if transaction else "",
        )

    def _sign(
        self, chain: _Chain, version: RoomVersion, draft: EventDraft, auth: Sequence[Event], now_ms: int
    ) -> Event:
        newest = sorted(chain.extremities, key=lambda extremity: -extremity.depth)[:_MOST_PREV_EVENTS]
        try:
            return build_event(
                draft,
                version,
                prev_events=[PrevEvent(*extremity) for extremity in newest],
                auth_events=auth,
                origin_server_ts=now_ms,
                server_name=self._server_name,
                signing_key=self._signing_key,
                event_localpart=self._randomness.event_localpart(),
            )
        except CanonicalJsonError as error:
            raise bad_json(f"The content of the event is not allowed in this room version: {error}") from None

    async def _with_previous(self, chain: _Chain, draft: EventDraft) -> EventDraft:
        """A state event tells clients what it replaces, outside of what is hashed and signed."""
        if draft.state_key is None:
            return draft
        key = (draft.type, draft.state_key)
        previous = (await self._state_events(chain, [key])).get(key)
        if previous is None:
            return draft
        unsigned = {
            "prev_content": previous.content,
            "prev_sender": previous.sender,
            "replaces_state": previous.event_id,
        }
        return replace(draft, unsigned=unsigned)

    def _advance(self, chain: _Chain, version: RoomVersion, event: Event) -> None:
        hashed = version.event_format.references_carry_hashes
        sha256 = reference_hash_base64(event.pdu, version) if hashed else ""
        chain.extremities = (Extremity(event.event_id, event.depth, sha256),)
        chain.room_id = event.room_id
        chain.fresh[event.event_id] = event
        if event.state_key is not None:
            chain.state = {**chain.state, (event.type, event.state_key): event.event_id}

    async def _state_events(self, chain: _Chain, keys: Sequence[StateKey]) -> dict[StateKey, Event]:
        wanted = {key: chain.state[key] for key in keys if key in chain.state}
        stored = await self._events.get_many([id_ for id_ in wanted.values() if id_ not in chain.fresh])
        return {
            key: chain.fresh[event_id] if event_id in chain.fresh else stored[event_id].event
            for key, event_id in wanted.items()
        }

    async def _redacted_target(self, event: Event, auth: Mapping[StateKey, Event], create: Event | None) -> str | None:
        if event.redacts is None:
            return None
        target = await self._events.find(event.redacts)
        if target is None or target.event.room_id != event.room_id:
            return None
        # Other servers trust ours to let nobody redact the events of its other users.
        if event.sender != target.event.sender and not has_power_to_redact(event.sender, event, auth, create):
            raise forbidden("You may redact only your own events in this room.")
        return target.event_id


def _append_and(tx: Transaction, batch: AppendBatch, also: Callable[[Transaction, str], None]) -> None:
    append(tx, batch)
    also(tx, batch.room_id)


def _too_busy() -> MatrixError:
    return MatrixError("M_UNKNOWN", "This room is too busy just now. Try again.", 503)


def _chain_of(room: Room) -> _Chain:
    return _Chain(state=room.state, extremities=room.extremities, fresh={}, room_id=room.room_id)
