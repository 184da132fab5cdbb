"""What a client is told besides rooms, where it asks for it: messages to its device, keys, account data, receipts,
typing.

Spec: MSC4186, "Extensions"
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from homeserver.services.sliding_sync.lists import Window
from homeserver.services.sliding_sync.request import RoomExtension, ToldRooms, Turn
from homeserver.services.sync.device_lists import DeviceLists
from homeserver.services.sync.ephemeral_events import receipts_content
from homeserver.services.sync.request import DeviceNews, UserNews
from homeserver.services.typing import Typing
from homeserver.storage.database import Database
from homeserver.storage.receipts import Receipt, load_shown_receipts


@dataclass(frozen=True, slots=True)
class RoomFacts:
    """What the rooms' part of the answer has found out already.

    `receipts` and `account_data` are those since the client's token, or earlier where a room needs it.
    """

    told: ToldRooms
    windows: Mapping[str, Window]
    receipts: Sequence[Receipt] = ()
    account_data: Mapping[str, list[tuple[str, bytes]]] = field(default_factory=dict)


class SlidingExtensions:
    """Answers extensions."""

    def __init__(
        self, database: Database, devices: DeviceNews, device_lists: DeviceLists, users: UserNews, typing: Typing
    ) -> None:
        self._database = database
        self._devices = devices
        self._device_lists = device_lists
        self._users = users
        self._typing = typing

    async def of_device(self, turn: Turn) -> tuple[dict[str, Any], bool]:
        """`to_device` and `e2ee`: what does not depend on rooms. Also asked for when nothing else is new."""
        request, device_id = turn.request, turn.request.device_id
        answer: dict[str, Any] = {}
        has_news = False
        if request.extensions.to_device:
            since = request.extensions.to_device_since
            answer["to_device"] = {"next_batch": str(max(since, turn.up_to)), "events": []}
            if device_id is not None:
                found = await self._devices.to_device(request.user_id, device_id, since, turn.up_to)
                reached = found.up_to if found.more else max(since, turn.up_to)
                answer["to_device"] = {"next_batch": str(reached), "events": found.events}
                has_news = bool(found.events)
        if request.extensions.e2ee and device_id is not None:
            counts = await self._devices.key_counts(request.user_id, device_id)
            answer["e2ee"] = {
                "device_one_time_keys_count": counts.one_time,
                "device_unused_fallback_key_types": list(counts.unused_fallback),
            }
        return answer, has_news

    async def add_device_lists(self, turn: Turn, answer: dict[str, Any]) -> bool:
        """The changes of device lists. A new connection is told of none: its client has to look all up anyway."""
        if turn.initial or "e2ee" not in answer:
            return False
        met = await self._device_lists.encounters(turn.watched, turn.after, turn.up_to)
        changes = await self._device_lists.changes(turn.watched, turn.after, turn.up_to, met)
        if changes is not None:
            answer["e2ee"]["device_lists"] = changes
        return changes is not None

    async def of_rooms(self, turn: Turn, facts: RoomFacts) -> tuple[dict[str, Any], bool]:
        """`account_data`, `receipts` and `typing`, as far as they have anything to tell."""
        wanted = turn.request.extensions
        answer: dict[str, Any] = {}
        if wanted.account_data is not None:
            answer["account_data"] = await self._account_data(turn, facts, wanted.account_data)
        if wanted.receipts is not None:
            answer["receipts"] = {"rooms": await self._receipts(turn, facts, wanted.receipts)}
        if wanted.typing is not None:
            answer["typing"] = {"rooms": self._typing_in(turn, facts, wanted.typing)}
        told = {name: parts for name, parts in answer.items() if any(parts.values())}
        return told, bool(told)

    async def _account_data(self, turn: Turn, facts: RoomFacts, wanted: RoomExtension) -> dict[str, Any]:
        is_new = turn.initial or "account_data" not in turn.connection.extensions
        after = 0 if is_new else turn.after
        by_type: list[tuple[str, bytes]] = []
        if is_new or turn.watched.changed("account_data", after):
            by_type = await self._users.global_account_data(turn.reader.user_id, after)
        scope = _scope(turn, facts, wanted)
        fresh = list(scope) if is_new else facts.told.new_rooms(scope)
        rooms = dict(await self._users.account_data_of_rooms(turn.reader.user_id, fresh)) if fresh else {}
        for room_id, changed in facts.account_data.items():
            if room_id not in rooms and room_id in scope:
                rooms[room_id] = changed
        return {
            "global": _account_data_events(by_type),
            "rooms": {room_id: _account_data_events(found) for room_id, found in rooms.items()},
        }

    async def _receipts(self, turn: Turn, facts: RoomFacts, wanted: RoomExtension) -> dict[str, Any]:
        scope = _scope(turn, facts, wanted)
        fresh = list(scope) if "receipts" not in turn.connection.extensions else facts.told.new_rooms(scope)
        by_room: dict[str, list[Receipt]] = {}
        for receipt in facts.receipts:
            since = facts.told.since.get(receipt.room_id)
            if since and receipt.position > since and receipt.room_id in scope:
                by_room.setdefault(receipt.room_id, []).append(receipt)
        if fresh:
            shown = [event_id for room_id in fresh for event_id in facts.told.shown_events.get(room_id, ())]
            user_id = turn.reader.user_id
            for receipt in await self._database.read(load_shown_receipts, fresh, shown, user_id):
                by_room.setdefault(receipt.room_id, []).append(receipt)
        contents = {room_id: receipts_content(found, turn.reader.user_id) for room_id, found in by_room.items()}
        return {room_id: {"type": "m.receipt", "content": content} for room_id, content in contents.items() if content}

    def _typing_in(self, turn: Turn, facts: RoomFacts, wanted: RoomExtension) -> dict[str, Any]:
        scope = _scope(turn, facts, wanted)
        is_new = "typing" not in turn.connection.extensions
        told: dict[str, Any] = {}
        for room_id in scope if is_new else facts.told.new_rooms(scope):
            users = self._typing.users_in(room_id)
            if users:
                told[room_id] = users
        for room_id, changed_at in turn.watched.typing.items():
            if changed_at > turn.ephemeral_after and not turn.initial and room_id in scope:
                told[room_id] = self._typing.users_in(room_id)
        return {room_id: {"type": "m.typing", "content": {"user_ids": users}} for room_id, users in told.items()}


class _Scope(Collection[str]):
    """The joined rooms that an extension tells of, asked for one by one far more often than all together."""

    def __init__(self, turn: Turn, parts: Sequence[Collection[str]]) -> None:
        self._memberships = turn.watched.memberships
        self._parts = parts

    def __contains__(self, room_id: object) -> bool:
        return any(room_id in part for part in self._parts) and self._is_joined(str(room_id))

    def __iter__(self) -> Iterator[str]:
        return iter({room_id for part in self._parts for room_id in part if self._is_joined(room_id)})

    def __len__(self) -> int:
        return len(set(iter(self)))

    def _is_joined(self, room_id: str) -> bool:
        found = self._memberships.get(room_id)
        return found is not None and found.membership == "join"


def _scope(turn: Turn, facts: RoomFacts, wanted: RoomExtension) -> _Scope:
    parts = [window.rooms for name, window in facts.windows.items() if wanted.lists is None or name in wanted.lists]
    subscribed: Collection[str] = turn.request.subscriptions
    if wanted.rooms is not None:
        subscribed = [room_id for room_id in subscribed if room_id in wanted.rooms]
    return _Scope(turn, [*parts, subscribed])


def _account_data_events(found: Iterable[tuple[str, bytes]]) -> list[dict[str, Any]]:
    return [{"type": kind, "content": orjson.Fragment(content)} for kind, content in found]
