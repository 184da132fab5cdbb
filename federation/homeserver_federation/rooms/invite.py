"""Inviting users of other servers, who sign the invite before it goes into the room.

Spec: server-server-api #inviting-to-a-room
"""

from __future__ import annotations

from typing import Any

from homeserver.protocol.errors import MatrixError
from homeserver.protocol.events import Event
from homeserver.protocol.identifiers import server_name_of
from homeserver.protocol.room_versions import EventIdFormat
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import Rooms
from homeserver_federation.client import federation_path
from homeserver_federation.errors import FederationError, RemoteServerError
from homeserver_federation.inbound.check_format import PduDropped, parse_pdu
from homeserver_federation.ports import ServerClient
from homeserver_federation.rooms.stripped_state import shown_of

_TIMEOUT_MS = 60_000


class InviteToRoom:
    """Has invites signed by the servers of those invited."""

    def __init__(self, rooms: Rooms, events: EventStore, client: ServerClient) -> None:
        self._rooms = rooms
        self._events = events
        self._client = client

    async def invite(self, event: Event) -> Event:
        """The invite with the other server's signature on it. Raises MatrixError when that server refuses."""
        room = await self._rooms.get(event.room_id)
        shown = await shown_of(room, self._events, event.sender)
        server = server_name_of(event.key[1])
        try:
            returned = await self._ask(server, event, shown)
        except FederationError as error:
            raise error.as_matrix_error() from error
        try:
            signed = parse_pdu(returned, event.room_version, event.room_id)
        except PduDropped as dropped:
            raise _nonsense(server, str(dropped)) from None
        signatures = signed.pdu["signatures"].get(server)
        if signed.event_id != event.event_id or not isinstance(signatures, dict):
            raise _nonsense(server, "It returned another event, or did not sign it.")
        merged = {**event.pdu["signatures"], server: signatures}
        return Event({**event.pdu, "signatures": merged}, event.room_version, event.event_id)

    async def _ask(self, server: str, event: Event, shown: list[dict[str, Any]]) -> object:
        segments = ("invite", event.room_id, event.event_id)
        body = {"event": event.pdu, "invite_room_state": shown, "room_version": event.room_version.identifier}
        try:
            answer = await self._client.put(server, federation_path("v2", *segments), body, timeout_ms=_TIMEOUT_MS)
            return answer.get("event") if isinstance(answer, dict) else None
        except RemoteServerError as error:
            is_old_room = event.room_version.event_format.event_id is EventIdFormat.SERVER_MADE
            if not is_old_room or not (error.is_unknown_endpoint or error.status == 400):
                raise
        old_body = {**event.pdu, "unsigned": {**event.unsigned, "invite_room_state": shown}}
        answer = await self._client.put(server, federation_path("v1", *segments), old_body, timeout_ms=_TIMEOUT_MS)
        container = answer[1] if isinstance(answer, list) and len(answer) == 2 else None
        return container.get("event") if isinstance(container, dict) else None


def _nonsense(server: str, reason: str) -> MatrixError:
    return MatrixError("M_UNKNOWN", f"The server {server} did not sign the invite as it should: {reason}", 502)
