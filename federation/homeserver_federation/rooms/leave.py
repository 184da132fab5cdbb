"""Leaving rooms that this server is not in: rejecting invites and taking back knocks.

Spec: server-server-api #leaving-rooms-rejecting-invites
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from homeserver.protocol.event_builder import EventDraft, build_event
from homeserver.protocol.events import Event
from homeserver.protocol.signing import SigningKey
from homeserver.runtime.clock import Clock
from homeserver.runtime.randomness import Randomness
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import unknown_room
from homeserver.storage.database import Database
from homeserver.storage.memberships import find_membership
from homeserver_federation.client import federation_path
from homeserver_federation.errors import FederationError
from homeserver_federation.inbound.outside_rooms import OutsideRooms
from homeserver_federation.ports import ServerClient
from homeserver_federation.room_locks import RoomLocks
from homeserver_federation.rooms.handshake import Handshake, Unusable, is_unknown_endpoint
from homeserver_federation.rooms.routes import Routes

_SEND_TIMEOUT_MS = 30_000
_log = structlog.get_logger("homeserver.federation.leave")


class LeaveRoom:
    """Leaves for local users. It always succeeds: when no server takes the leave, it is ours alone."""

    def __init__(
        self,
        database: Database,
        events: EventStore,
        locks: RoomLocks,
        routes: Routes,
        handshake: Handshake,
        client: ServerClient,
        outside: OutsideRooms,
        clock: Clock,
        randomness: Randomness,
        server_name: str,
        signing_key: SigningKey,
    ) -> None:
        self._database = database
        self._events = events
        self._locks = locks
        self._routes = routes
        self._handshake = handshake
        self._client = client
        self._outside = outside
        self._clock = clock
        self._randomness = randomness
        self._server_name = server_name
        self._signing_key = signing_key

    async def leave(self, user_id: str, room_id: str, content: Mapping[str, Any]) -> None:
        """Leave. Raises M_NOT_FOUND for a room the user never had to do with; does nothing when they left before."""
        async with self._locks.hold(room_id):
            present = await self._database.read(find_membership, room_id, user_id)
            stored = await self._events.find(present.event_id) if present is not None else None
            if present is None or stored is None:
                raise unknown_room()
            if present.membership in {"leave", "ban"}:
                return
            for server in self._handshake.candidates(await self._routes.to(room_id, user_id)):
                try:
                    await self._outside.record(await self._leave_through(server, user_id, room_id, content))
                except (FederationError, Unusable) as error:
                    _log.info("leave failed", room_id=room_id, server=server, reason=str(error))
                else:
                    return
            await self._outside.record(self._on_our_own(stored.event, user_id, content))

    async def _leave_through(self, server: str, user_id: str, room_id: str, content: Mapping[str, Any]) -> Event:
        template = await self._handshake.make(server, "leave", room_id, user_id)
        event = self._handshake.complete(template, content)
        segments = ("send_leave", room_id, event.event_id)
        try:
            await self._client.put(server, federation_path("v2", *segments), event.pdu, timeout_ms=_SEND_TIMEOUT_MS)
        except FederationError as error:
            if not is_unknown_endpoint(error):
                raise
            await self._client.put(server, federation_path("v1", *segments), event.pdu, timeout_ms=_SEND_TIMEOUT_MS)
        return event

    def _on_our_own(self, present: Event, user_id: str, content: Mapping[str, Any]) -> Event:
        """A leave that no other server knows of, on top of the invite or knock it ends."""
        return build_event(
            EventDraft(present.room_id, "m.room.member", user_id, dict(content), state_key=user_id),
            present.room_version,
            prev_events=[present],
            auth_events=[present],
            origin_server_ts=self._clock.now_ms(),
            server_name=self._server_name,
            signing_key=self._signing_key,
            event_localpart=self._randomness.event_localpart(),
        )
