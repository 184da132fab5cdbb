"""Takes reports of events, rooms and users for the administrators.

Spec: client-server-api #reporting-content
"""

from __future__ import annotations

import structlog

from homeserver.protocol.errors import not_found
from homeserver.protocol.identifiers import check_user_id
from homeserver.runtime.clock import Clock
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import Rooms
from homeserver.storage.accounts import find_user
from homeserver.storage.database import Database
from homeserver.storage.memberships import load_memberships
from homeserver.storage.reports import Report, store_report

_log = structlog.get_logger("homeserver.reports")


class Reports:
    """The use cases behind `/report`."""

    def __init__(self, database: Database, rooms: Rooms, events: EventStore, clock: Clock) -> None:
        self._database = database
        self._rooms = rooms
        self._events = events
        self._clock = clock

    async def report_event(self, reporter: str, room_id: str, event_id: str, reason: str | None) -> None:
        """Raises M_NOT_FOUND unless the event is in a room the reporter is joined to."""
        room = await self._rooms.find(room_id)
        stored = await self._events.find(event_id)
        if (
            room is None
            or room.local_members.get(reporter) != "join"
            or stored is None
            or stored.position is None
            or stored.event.room_id != room_id
        ):
            raise not_found("There is no such event in a room you are in.")
        await self._store(Report(reporter, room_id, event_id, None, reason, self._clock.now_ms()))

    async def report_room(self, reporter: str, room_id: str, reason: str | None) -> None:
        """Raises M_NOT_FOUND."""
        if await self._rooms.find(room_id) is None:
            raise not_found("The room was not found.")
        await self._store(Report(reporter, room_id, None, None, reason, self._clock.now_ms()))

    async def report_user(self, reporter: str, user_id: str, reason: str | None) -> None:
        """Raises M_NOT_FOUND, M_INVALID_PARAM."""
        check_user_id(user_id)
        if not await self._is_known(user_id):
            raise not_found("The user was not found.")
        await self._store(Report(reporter, None, None, user_id, reason, self._clock.now_ms()))

    async def _is_known(self, user_id: str) -> bool:
        if await self._database.read(find_user, user_id) is not None:
            return True
        return bool(await self._database.read(load_memberships, user_id))

    async def _store(self, report: Report) -> None:
        await self._database.write(store_report, report)
        _log.info("something was reported", room=report.room_id, of_event=report.event_id, user=report.user_id)
