"""What waits in memory for one server: typing notices, receipts, presence. Newer news takes the place of older.

It is lost with the process: all of it is stale after a restart anyway.

Spec: server-server-api #typing-notifications, #receipts, #presence
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from homeserver.protocol.edus import Presence, PresenceUpdate, Receipt, Receipts, Typing

MOST_AT_ONCE = 20
_MOST_RECEIPTS = 200
_MOST_PRESENCE = 500
_PRESENCE_PER_EDU = 50


@dataclass(slots=True)
class Unsent:
    """News that is not stored, by what it is about."""

    typing: dict[tuple[str, str], bool] = field(default_factory=dict)
    receipts: dict[tuple[str, str, str], Receipt] = field(default_factory=dict)
    presence: dict[str, PresenceUpdate] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.typing or self.receipts or self.presence)

    def note_typing(self, room_id: str, user_id: str, typing: bool) -> None:
        self.typing[room_id, user_id] = typing

    def note_receipt(self, receipt: Receipt) -> None:
        """The latest receipt of a user in a thread of a room; the oldest go when there are too many."""
        key = (receipt.room_id, receipt.user_id, receipt.thread_id or "")
        self.receipts.pop(key, None)
        self.receipts[key] = receipt
        if len(self.receipts) > _MOST_RECEIPTS:
            del self.receipts[next(iter(self.receipts))]

    def note_presence(self, update: PresenceUpdate) -> None:
        self.presence[update.user_id] = update
        if len(self.presence) > _MOST_PRESENCE:
            del self.presence[next(iter(self.presence))]

    def drop_stale(self) -> None:
        """The server cannot be reached: who typed meanwhile, or was online, will be of no interest."""
        self.typing.clear()
        self.presence.clear()

    def take(self) -> Unsent:
        """As much as fits into one transaction, taken out of here."""
        taken = Unsent(presence=_first(self.presence, _PRESENCE_PER_EDU), typing=_first(self.typing, MOST_AT_ONCE // 2))
        in_each_room: dict[tuple[str, str], int] = {}
        for (room_id, user_id, thread_id), receipt in self.receipts.items():
            # An EDU holds one receipt of a user in a room; those of other threads need EDUs of their own.
            layer = in_each_room.get((room_id, user_id), 0)
            in_each_room[room_id, user_id] = layer + 1
            if layer < MOST_AT_ONCE // 2 - 1:
                taken.receipts[room_id, user_id, thread_id] = receipt
        for key in taken.receipts:
            del self.receipts[key]
        for user_id in taken.presence:
            del self.presence[user_id]
        for place in taken.typing:
            del self.typing[place]
        return taken

    def put_back(self, taken: Unsent) -> None:
        """What was taken has not gone out; newer news stays."""
        self.typing = {**taken.typing, **self.typing}
        self.receipts = {**taken.receipts, **self.receipts}
        self.presence = {**taken.presence, **self.presence}

    def edus(self) -> list[bytes]:
        """All of it as EDUs in JSON, at most `MOST_AT_ONCE` for what `take` returned."""
        found: list[Mapping[str, Any]] = [
            Typing(room_id, user_id, typing).to_edu() for (room_id, user_id), typing in self.typing.items()
        ]
        layers: list[dict[tuple[str, str], Receipt]] = []
        for receipt in self.receipts.values():
            place = (receipt.room_id, receipt.user_id)
            layer = next((one for one in layers if place not in one), None)
            if layer is None:
                layer = {}
                layers.append(layer)
            layer[place] = receipt
        found.extend(Receipts(tuple(layer.values())).to_edu() for layer in layers)
        if self.presence:
            found.append(Presence(tuple(self.presence.values())).to_edu())
        return [orjson.dumps(edu) for edu in found]


def _first(items: Mapping[Any, Any], most: int) -> dict[Any, Any]:
    return dict(list(items.items())[:most])
