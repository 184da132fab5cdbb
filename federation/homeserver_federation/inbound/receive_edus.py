"""EDUs: what other servers tell that is no part of a room's history.

What an EDU says of users of other servers than its sender has been dropped by the parser.

Spec: server-server-api #edus
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import structlog

from homeserver.protocol import edus as edu_types
from homeserver.protocol.edus import EduError, parse_edu
from homeserver.protocol.errors import MatrixError
from homeserver.runtime.clock import Clock
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import MEMBER, Room, Rooms
from homeserver.services.typing import Typing
from homeserver.storage.database import Database
from homeserver.storage.memberships import is_joined_anywhere
from homeserver.storage.receipts import READ, store_receipt
from homeserver_federation.rooms.access import ServerAccess
from homeserver_federation.rooms.joined_servers import is_resident

_MOST_PRESENCES = 500
_TYPING_LASTS_MS = 60_000
_log = structlog.get_logger("homeserver.federation.edus")


class NotesPresence(Protocol):
    """Takes the presence of other servers' users."""

    def note(self, user_id: str, state: str, status: str | None, active_ago_ms: int | None) -> None: ...


class ReceivesDeviceLists(Protocol):
    """Takes changes of other servers' users' devices and signing keys."""

    async def receive_device_list_update(self, update: edu_types.DeviceListUpdate) -> None: ...
    async def receive_signing_key_update(self, update: edu_types.SigningKeyUpdate) -> None: ...


class ReceivesToDevice(Protocol):
    """Takes messages for single devices of local users."""

    async def receive(self, message: edu_types.DirectToDevice) -> None: ...


class ReceiveEdus:
    """Hands each EDU to whom it concerns. One that is malformed or fails keeps back no other."""

    def __init__(
        self,
        database: Database,
        rooms: Rooms,
        events: EventStore,
        access: ServerAccess,
        typing: Typing,
        to_device: ReceivesToDevice,
        presence: NotesPresence | None,
        device_lists: ReceivesDeviceLists,
        clock: Clock,
    ) -> None:
        self._database = database
        self._rooms = rooms
        self._events = events
        self._access = access
        self._typing = typing
        self._to_device = to_device
        self._presence = presence
        self._device_lists = device_lists
        self._clock = clock

    async def receive(self, origin: str, edus: Sequence[Mapping[str, Any]]) -> None:
        """Take the EDUs of a transaction, in their order."""
        for edu in edus:
            try:
                await self._receive_one(origin, parse_edu(edu, origin))
            except EduError as error:
                _log.info("EDU ignored", origin=origin, reason=str(error))
            except MatrixError as error:
                _log.info("EDU refused", origin=origin, reason=error.sentence)

    async def _receive_one(self, origin: str, edu: edu_types.Edu | None) -> None:
        match edu:
            case edu_types.Typing():
                await self._receive_typing(origin, edu)
            case edu_types.Receipts():
                for receipt in edu.receipts:
                    await self._receive_receipt(origin, receipt)
            case edu_types.DirectToDevice():
                await self._to_device.receive(edu)
            case edu_types.Presence():
                await self._receive_presence(edu)
            case edu_types.DeviceListUpdate():
                await self._device_lists.receive_device_list_update(edu)
            case edu_types.SigningKeyUpdate():
                await self._device_lists.receive_signing_key_update(edu)

    async def _receive_typing(self, origin: str, typing: edu_types.Typing) -> None:
        room = await self._find_room(origin, typing.room_id)
        if room is not None and await self._is_joined(room, typing.user_id):
            self._typing.note(typing.user_id, typing.room_id, typing.typing, _TYPING_LASTS_MS)

    async def _receive_receipt(self, origin: str, receipt: edu_types.Receipt) -> None:
        room = await self._find_room(origin, receipt.room_id)
        if room is None or not await self._is_joined(room, receipt.user_id):
            return
        stored = await self._events.find(receipt.event_id)
        if stored is None or stored.position is None or stored.event.room_id != receipt.room_id:
            return
        await self._database.write(
            store_receipt,
            receipt.room_id,
            receipt.user_id,
            READ,
            receipt.thread_id or "",
            receipt.event_id,
            stored.position,
            min(receipt.ts_ms, self._clock.now_ms()),
        )

    async def _receive_presence(self, presence: edu_types.Presence) -> None:
        if self._presence is None:
            return
        for update in presence.updates[:_MOST_PRESENCES]:
            if await self._database.read(is_joined_anywhere, update.user_id):
                self._presence.note(update.user_id, update.presence, update.status_msg, update.last_active_ago_ms)

    async def _find_room(self, origin: str, room_id: str) -> Room | None:
        room = await self._rooms.find(room_id)
        if room is None or not is_resident(room) or not await self._access.is_allowed(origin, room):
            return None
        return room

    async def _is_joined(self, room: Room, user_id: str) -> bool:
        event_id = room.state_id(MEMBER, user_id)
        stored = await self._events.find(event_id) if event_id is not None else None
        return stored is not None and stored.event.membership == "join"
