"""Knocking on rooms through the servers that are in them.

Spec: server-server-api #knocking-rooms
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from homeserver.protocol.events import Event
from homeserver_federation.client import federation_path
from homeserver_federation.errors import FederationError
from homeserver_federation.inbound.outside_rooms import OutsideRooms
from homeserver_federation.ports import ServerClient, SignatureChecks
from homeserver_federation.room_locks import RoomLocks
from homeserver_federation.rooms.handshake import Handshake, Unusable, best_answer
from homeserver_federation.rooms.outliers import list_in
from homeserver_federation.rooms.routes import Routes
from homeserver_federation.rooms.stripped_state import stripped

_SEND_TIMEOUT_MS = 60_000


class KnockOnRoom:
    """Knocks for local users."""

    def __init__(
        self,
        locks: RoomLocks,
        routes: Routes,
        handshake: Handshake,
        client: ServerClient,
        checks: SignatureChecks,
        outside: OutsideRooms,
    ) -> None:
        self._locks = locks
        self._routes = routes
        self._handshake = handshake
        self._client = client
        self._checks = checks
        self._outside = outside

    async def knock(self, user_id: str, room_id: str, via: Sequence[str], content: Mapping[str, Any]) -> None:
        """Knock through the first server that takes it. Raises MatrixError when none does."""
        servers = self._handshake.candidates([*via, *await self._routes.to(room_id, user_id)])
        failures: list[FederationError | Unusable] = []
        async with self._locks.hold(room_id):
            for server in servers:
                try:
                    await self._knock_through(server, user_id, room_id, content)
                except (FederationError, Unusable) as error:
                    failures.append(error)
                else:
                    return
        raise best_answer(failures)

    async def _knock_through(self, server: str, user_id: str, room_id: str, content: Mapping[str, Any]) -> None:
        template = await self._handshake.make(server, "knock", room_id, user_id)
        if not template.version.auth.knocking:
            raise Unusable("The room's version does not know knocking.")
        event = self._handshake.complete(template, content)
        path = federation_path("v1", "send_knock", room_id, event.event_id)
        answer = await self._client.put(server, path, event.pdu, timeout_ms=_SEND_TIMEOUT_MS)
        shown = await stripped(template.version, room_id, list_in(answer, "knock_room_state"), self._checks)
        await self._outside.record(with_unsigned(event, {"knock_room_state": shown}))


def with_unsigned(event: Event, unsigned: Mapping[str, Any]) -> Event:
    """The same event with something for our clients that nobody signed."""
    pdu = {**event.pdu, "unsigned": {**event.unsigned, **unsigned}}
    return Event(pdu, event.room_version, event.event_id)
