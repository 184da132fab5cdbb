"""The state at any point of a room's event graph, forks resolved.

A state is a stored group with a few changes laid over it; whole states are put together only to resolve forks.

Spec: server-server-api #room-state-resolution
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.receipt import Standing
from homeserver.protocol.room_versions import RoomVersion
from homeserver.protocol.state_resolution import resolve
from homeserver.services.rooms.state_groups import StateGroups
from homeserver.storage.database import Database
from homeserver.storage.events import StoredEvent, load_events
from homeserver.storage.room_state import StateDelta, StateMap, apply_changes, load_state


@dataclass(frozen=True, slots=True)
class StateAt:
    """A state: the group `base` (None for no state at all) with `changes` laid over it."""

    base: int | None
    changes: Mapping[StateKey, str | None] = field(default_factory=dict)

    @property
    def to_store(self) -> int | StateDelta:
        """As the room log wants it."""
        return self.base if self.base is not None and not self.changes else StateDelta(self.base, self.changes)

    def after(self, event: Event, standing: Standing = Standing.ACCEPTED) -> StateAt:
        """The state after an event that has this state before it."""
        if event.state_key is None or standing is Standing.REJECTED:
            return self
        return StateAt(self.base, {**self.changes, event.key: event.event_id})


class RoomStates:
    """Looks states up and resolves forks."""

    def __init__(self, database: Database, groups: StateGroups) -> None:
        self._database = database
        self._groups = groups

    async def find(self, state: StateAt, keys: Iterable[StateKey]) -> dict[StateKey, str]:
        """The ids of the events that hold `keys`; keys without an entry are left out."""
        wanted = set(keys)
        changed = wanted & state.changes.keys()
        found = {key: event_id for key in changed if (event_id := state.changes[key]) is not None}
        return {**await self._groups.find(state.base, wanted - changed), **found}

    async def load(self, state: StateAt) -> StateMap:
        """The whole state."""
        whole = await self._groups.load(state.base)
        apply_changes(whole, state.changes)
        return whole

    async def resolve(
        self, version: RoomVersion, states: Sequence[StateAt], fresh: Mapping[str, Event] | None = None
    ) -> StateAt:
        """One state out of the states of several branches. `fresh` are events that are not stored yet."""
        distinct: list[StateAt] = []
        for state in states:
            if state not in distinct:
                distinct.append(state)
        if len(distinct) == 1:
            return distinct[0]
        return await self._database.read(_resolve, version, distinct, fresh or {})


def difference(old: Mapping[StateKey, str], new: Mapping[StateKey, str]) -> dict[StateKey, str | None]:
    """What has to be laid over `old` to get `new`."""
    changes: dict[StateKey, str | None] = {key: id_ for key, id_ in new.items() if old.get(key) != id_}
    changes.update((key, None) for key in old if key not in new)
    return changes


def _resolve(
    connection: Connection, version: RoomVersion, states: Sequence[StateAt], fresh: Mapping[str, Event]
) -> StateAt:
    """Runs in a reader's thread: resolution walks the auth chains level by level, and takes its time."""
    whole = [_load(connection, state) for state in states]
    if all(other == whole[0] for other in whole[1:]):
        return states[0]
    loaded: dict[str, StoredEvent] = {}

    def load(event_ids: Collection[str]) -> dict[str, Event]:
        loaded.update(load_events(connection, [id_ for id_ in event_ids if id_ not in loaded and id_ not in fresh]))
        known = {id_: loaded[id_].event for id_ in event_ids if id_ in loaded}
        return {**known, **{id_: fresh[id_] for id_ in event_ids if id_ in fresh}}

    def is_rejected(event_id: str) -> bool:
        return event_id in loaded and loaded[event_id].standing is Standing.REJECTED

    resolved = resolve(version, whole, load, is_rejected)
    closest = min(range(len(states)), key=lambda number: len(difference(whole[number], resolved)))
    base = states[closest]
    return StateAt(base.base, {**base.changes, **difference(whole[closest], resolved)})


def _load(connection: Connection, state: StateAt) -> StateMap:
    whole = load_state(connection, state.base)
    apply_changes(whole, state.changes)
    return whole
