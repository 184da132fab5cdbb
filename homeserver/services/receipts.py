"""Read receipts and read markers.

Spec: client-server-api #receipts, #fully-read-markers
"""

from __future__ import annotations

from homeserver.protocol.errors import MatrixError, forbidden, invalid_param, not_found
from homeserver.protocol.relations import relation_of
from homeserver.runtime.clock import Clock
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import Rooms
from homeserver.storage.database import Database
from homeserver.storage.events import StoredEvent
from homeserver.storage.receipts import READ, READ_PRIVATE, store_receipt

MAIN_THREAD = "main"


class Receipts:
    """Moves a user's receipts."""

    def __init__(self, database: Database, rooms: Rooms, events: EventStore, clock: Clock) -> None:
        self._database = database
        self._rooms = rooms
        self._events = events
        self._clock = clock

    async def move(
        self, user_id: str, room_id: str, receipt_type: str, event_id: str, thread_id: str | None = None
    ) -> None:
        """Say that a user has read up to an event, in one thread or in the whole room.

        A receipt for an event that is not there, or that lies before the present one, changes nothing.
        """
        if receipt_type not in {READ, READ_PRIVATE}:
            raise invalid_param(f"{receipt_type!r} is not a type of receipt.")
        room = await self._rooms.get(room_id)
        if room.local_members.get(user_id) != "join":
            raise forbidden("You are not in this room.")
        stored = await self._events.find(event_id)
        if stored is None or stored.position is None or stored.event.room_id != room_id:
            raise not_found("There is no such event in this room.")
        if thread_id is not None:
            await self._check_thread(stored, thread_id)
        await self._database.write(
            store_receipt,
            room_id,
            user_id,
            receipt_type,
            thread_id or "",
            event_id,
            stored.position,
            self._clock.now_ms(),
        )

    async def _check_thread(self, stored: StoredEvent, thread_id: str) -> None:
        if not thread_id:
            raise invalid_param("`thread_id` must not be empty.")
        root = await self._thread_of(stored)
        # A thread's root belongs to the main timeline and to its thread.
        if thread_id not in {root or MAIN_THREAD, stored.event_id}:
            raise MatrixError("M_INVALID_PARAM", "The event is not part of this thread.", 400)

    async def _thread_of(self, stored: StoredEvent) -> str | None:
        """The thread an event belongs to: its own, or that of the event it relates to."""
        seen = stored
        for _ in range(3):
            if seen.thread_root is not None:
                return seen.thread_root
            relation = relation_of(seen.event.content)
            parent = await self._events.find(relation.event_id) if relation is not None else None
            if parent is None:
                return None
            seen = parent
        return None


__all__ = ["READ", "READ_PRIVATE", "Receipts"]
