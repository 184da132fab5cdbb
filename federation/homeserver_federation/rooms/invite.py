"""Inviting users of other servers, who sign the invite before it goes into the room.

Spec: server-server-api #inviting-to-a-room
"""

from __future__ import annotations

from typing import Any

from homeserver.protocol.errors import MatrixError, forbidden
from homeserver.protocol.events import Event
from homeserver.protocol.identifiers import server_name_of
from homeserver.protocol.receipt import Standing
from homeserver.protocol.room_versions import EventIdFormat
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import Rooms
from homeserver_federation.client import federation_path
from homeserver_federation.errors import FederationError, RemoteServerError
from homeserver_federation.inbound.check_format import PduDropped, parse_pdu
from homeserver_federation.inbound.receive_pdu import ReceivePdu
from homeserver_federation.ports import ServerClient
from homeserver_federation.rooms.stripped_state import shown_of

_TIMEOUT_MS = 60_000


class InviteToRoom:
    """Has invites signed by the servers of those invited, and gives them their place.

    The room may have moved on while the other server made up its mind: the invite is then placed where it was made,
    as an event that came from elsewhere would be.
    """

    def __init__(
        self, rooms: Rooms, events: EventStore, client: ServerClient, receive: ReceivePdu, server_name: str
    ) -> None:
        self._rooms = rooms
        self._events = events
        self._client = client
        self._receive = receive
        self._server_name = server_name

    async def invite(self, event: Event) -> Event:
        """The invite, signed by the other server and in the room. Raises MatrixError when that server refuses."""
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
        invite = Event({**event.pdu, "signatures": merged}, event.room_version, event.event_id)
        received = await self._receive.receive_event(self._server_name, invite)
        if received.stored is None or received.stored.standing is not Standing.ACCEPTED:
            reason = received.dropped if received.stored is None else received.stored.reason
            raise forbidden(reason or "The invite is not allowed any more.")
        return invite

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
