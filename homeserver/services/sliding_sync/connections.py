"""What the client of each connection has been told: kept in memory, and in the database as steps.

A room that is told everything needs no word: the token says how far. So only an answer with a room that is new, or
that has news which the client does not look at, makes a step; answers to clients that look at all their rooms write
nothing. The last step counts as told once its token comes back.

Spec: MSC4186, "Connections"
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from homeserver.protocol.errors import MatrixError
from homeserver.runtime.bounded_cache import BoundedCache
from homeserver.runtime.clock import Clock
from homeserver.services.sliding_sync.required_state import RequiredState, required_state_from_json
from homeserver.services.tokens import ConnectionToken, find_connection_token
from homeserver.storage import sliding_sync as rows
from homeserver.storage.database import Database
from homeserver.storage.sliding_sync import Step

LIVE = 0
EVERY_EVENT = 2**31
_MOST_OF_A_DEVICE = 16
_MOST_IN_ALL = 500_000
_MOST_SELECTIONS = 500
_MOST_MEMBERS = 50_000
_MERGED_FROM = 32
_USE_NOTED_EVERY_MS = 3_600_000
_KEPT_MS = 14 * 86_400_000
_AT_ONCE = 500
_BYTES_OF_A_ROOM = 300


class Told(NamedTuple):
    """What a client has of a room: news up to `up_to` (LIVE: up to its token), state by a numbered selection.

    `events` is how many of the newest events it has without a gap; `kind` "join", "invite", "knock" or "left".
    """

    up_to: int
    selection: int
    events: int
    kind: str
    is_dm: bool


Mark = tuple[int, int]


@dataclass(slots=True, eq=False)
class Connection:
    """A connection as of `step`. `last` is the step given out after it, of which nobody knows yet if it arrived.

    `members` holds whom the client knows in which room, and since which token; forgetting costs a repetition.
    `settled` says for which windows everything was told as of which step; `request` is what the last answer was
    to, with the `counts` of its lists; `turns` counts requests.
    """

    nid: int
    user_id: str
    device_id: str
    name: str
    used_ms: int
    step: int = 0
    highest: int = 0
    rooms: dict[str, Told] = field(default_factory=dict)
    selections: dict[int, RequiredState] = field(default_factory=dict)
    numbers: dict[RequiredState, int] = field(default_factory=dict)
    extensions: frozenset[str] = frozenset()
    last: tuple[int, dict[str, Told | None], frozenset[str]] | None = None
    members: dict[str, dict[str, Mark]] = field(default_factory=dict)
    members_known: int = 0
    settled: Any = None
    request: Any = None
    counts: dict[str, int] = field(default_factory=dict)
    turns: int = 0
    stored_steps: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def number_of(self, selection: RequiredState) -> int:
        """The number under which the connection knows a selection of state."""
        number = self.numbers.get(selection)
        if number is None:
            if len(self.numbers) >= _MOST_SELECTIONS:
                raise unknown_pos("This connection has asked for too many different things.")
            number = max(self.selections, default=-1) + 1
            self.selections[number] = selection
            self.numbers[selection] = number
        return number

    def arrived(self) -> None:
        """The last step has arrived."""
        if self.last is None:
            return
        self.step, changes, self.extensions = self.last
        _lay_over(self.rooms, changes)
        self.last = None

    def unknown_members(self, room_id: str, members: set[str], mark: Mark, token: Mark) -> set[str]:
        """Those of `members` whom the client did not know at `token`; it will with the answer at `mark`."""
        known = self.members.get(room_id)
        if known is None:
            known = self.members[room_id] = {}
        unknown = {user_id for user_id in members if user_id not in known or known[user_id] > token}
        self.members_known += len(unknown)
        if self.members_known > _MOST_MEMBERS:
            self.members.clear()
            self.members_known = len(unknown)
            self.members[room_id] = known = {}
        known.update(dict.fromkeys(unknown, mark))
        return unknown

    def forget_members(self, room_id: str) -> None:
        """The client has a gap, and forgets the members of the room too."""
        self.members_known -= len(self.members.pop(room_id, ()))


class Connections:
    """Finds, begins and extends connections; at most `cache_bytes` of them in memory."""

    def __init__(self, database: Database, clock: Clock, cache_bytes: int) -> None:
        self._database = database
        self._clock = clock
        self.cache: BoundedCache[int, Connection] = BoundedCache(
            "sliding_connections", cache_bytes, lambda connection: 4_000 + _BYTES_OF_A_ROOM * len(connection.rooms)
        )

    def begin(self, user_id: str, device_id: str, name: str) -> Connection:
        """A connection that exists once its first step is given out."""
        return Connection(0, user_id, device_id, name, self._clock.now_ms())

    async def resume(self, pos: str, user_id: str, device_id: str, name: str) -> tuple[Connection, ConnectionToken]:
        """The connection that a token belongs to. Raises M_UNKNOWN_POS."""
        token = find_connection_token(pos)
        if token is None:
            raise unknown_pos("This is not a token of this endpoint.")
        connection = self.cache.find(token.connection)
        if connection is None or not _knows(connection, token.step):
            connection = await self._load(token.connection)
        if connection is None or (connection.user_id, connection.device_id, connection.name) != (
            user_id,
            device_id,
            name,
        ):
            raise unknown_pos("This connection is not known any more.")
        return connection, token

    async def rewind(self, connection: Connection, step: int) -> None:
        """Go to the step that the client has. To be called with the connection's lock. Raises M_UNKNOWN_POS."""
        if connection.last is not None and connection.last[0] == step:
            connection.arrived()
        elif connection.step == step:
            connection.last = None
        else:
            raise unknown_pos("This token has been replaced by newer ones.")
        if self._clock.now_ms() - connection.used_ms > _USE_NOTED_EVERY_MS:
            connection.used_ms = self._clock.now_ms()
            await self._database.write(rows.use_connection, connection.nid, connection.used_ms)

    async def give_out(
        self, connection: Connection, changes: dict[str, Told | None], extensions: frozenset[str]
    ) -> int:
        """Store what an answer adds, if anything; the step for its token."""
        is_new = connection.nid == 0
        if not is_new and not changes and extensions == connection.extensions:
            return connection.step
        step = Step(connection.highest + 1, _packed(connection, changes, extensions))
        now_ms = self._clock.now_ms()
        if is_new:
            connection.nid, gone = await self._database.write(
                rows.create_connection,
                connection.user_id,
                connection.device_id,
                connection.name,
                now_ms,
                step,
                _MOST_OF_A_DEVICE,
            )
            self._drop(gone)
        else:
            if not await self._database.write(rows.add_step, connection.nid, connection.step, step, now_ms):
                self._drop([connection.nid])
                raise unknown_pos("This connection has just been ended.")
            connection.stored_steps += 1
            await self._merge_if_many(connection)
        connection.used_ms = now_ms
        connection.highest = step.number
        connection.last = (step.number, changes, extensions)
        self.cache.put(connection.nid, connection)
        return step.number

    async def forget_old(self) -> None:
        """Retention: connections nobody came back to, and the oldest where there are too many."""
        before_ms = self._clock.now_ms() - _KEPT_MS
        for delete, bound in ((rows.delete_unused, before_ms), (rows.delete_beyond, _MOST_IN_ALL)):
            while True:
                gone = await self._database.write(delete, bound, _AT_ONCE)
                self._drop(gone)
                if len(gone) < _AT_ONCE:
                    break

    def _drop(self, nids: Sequence[int]) -> None:
        for nid in nids:
            self.cache.drop(nid)

    async def _merge_if_many(self, connection: Connection) -> None:
        if connection.stored_steps < _MERGED_FROM:
            return
        whole: dict[str, Told | None] = dict(connection.rooms)
        merged = Step(connection.step, _packed(connection, whole, connection.extensions))
        await self._database.write(rows.merge_steps, connection.nid, merged)
        connection.stored_steps = 1

    async def _load(self, nid: int) -> Connection | None:
        stored = await self._database.read(rows.find_connection, nid)
        if stored is None:
            return None
        connection = Connection(nid, stored.user_id, stored.device_id, stored.name, stored.used_ms)
        for step in stored.steps:
            connection.arrived()
            changes, extensions = _unpacked(connection, step.changes)
            connection.last = (step.number, changes, extensions)
            connection.highest = step.number
        connection.stored_steps = len(stored.steps)
        self.cache.put(nid, connection)
        return connection


def unknown_pos(sentence: str) -> MatrixError:
    """The client has to begin anew."""
    return MatrixError("M_UNKNOWN_POS", sentence, 400)


def _knows(connection: Connection, step: int) -> bool:
    return connection.step == step or (connection.last is not None and connection.last[0] == step)


def _lay_over(rooms: dict[str, Told], changes: Mapping[str, Told | None]) -> None:
    for room_id, told in changes.items():
        if told is None:
            rooms.pop(room_id, None)
        else:
            rooms[room_id] = told


def _packed(connection: Connection, changes: Mapping[str, Told | None], extensions: frozenset[str]) -> bytes:
    used = {told.selection for told in changes.values() if told is not None}
    return orjson.dumps(
        {
            "rooms": {room_id: None if told is None else list(told) for room_id, told in changes.items()},
            "selections": {str(number): connection.selections[number].to_json() for number in used},
            "extensions": sorted(extensions),
        }
    )


def _unpacked(connection: Connection, packed: bytes) -> tuple[dict[str, Told | None], frozenset[str]]:
    stored = orjson.loads(packed)
    for number, selections in stored["selections"].items():
        connection.selections[int(number)] = found = required_state_from_json(selections)
        connection.numbers[found] = int(number)
    changes = {room_id: None if told is None else Told(*told) for room_id, told in stored["rooms"].items()}
    return changes, frozenset(stored["extensions"])
