"""Takes the member events that other servers made of our templates into the rooms they are for.

Spec: server-server-api #put_matrixfederationv2send_joinroomideventid
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from homeserver.protocol.errors import MatrixError, forbidden, invalid_param
from homeserver.protocol.event_hashes import add_signature, has_valid_content_hash
from homeserver.protocol.events import Event
from homeserver.protocol.identifiers import server_name_of
from homeserver.protocol.receipt import Standing
from homeserver.protocol.signing import SigningKey
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import MEMBER, Room
from homeserver.storage.database import Database
from homeserver.storage.events import StoredEvent
from homeserver.storage.remote_rooms import Relay
from homeserver_federation.inbound.check_format import PduDropped, parse_pdu
from homeserver_federation.inbound.receive_pdu import ReceivePdu
from homeserver_federation.ports import SignatureChecks
from homeserver_federation.rooms.access import ServerAccess
from homeserver_federation.rooms.auth_chains import load_auth_chain
from homeserver_federation.rooms.joined_servers import JoinedServers
from homeserver_federation.rooms.restricted_joins import RestrictedJoins
from homeserver_federation.rooms.room_states import RoomStates, StateAt
from homeserver_federation.rooms.server_visibility import wire_form
from homeserver_federation.rooms.stripped_state import shown_of

_NAMES = (("m.room.name", ""), ("m.room.canonical_alias", ""))
_MOST_HEROES = 5


@dataclass(frozen=True, slots=True)
class _Sent:
    room: Room
    stored: StoredEvent


class MemberEvents:
    """The use cases behind `/send_join`, `/send_knock` and `/send_leave`. `relay` notes what is ours to pass on."""

    def __init__(
        self,
        database: Database,
        events: EventStore,
        access: ServerAccess,
        joined: JoinedServers,
        checks: SignatureChecks,
        restricted: RestrictedJoins,
        states: RoomStates,
        receive: ReceivePdu,
        relay: Relay | None,
        server_name: str,
        signing_key: SigningKey,
    ) -> None:
        self._database = database
        self._events = events
        self._access = access
        self._joined = joined
        self._checks = checks
        self._restricted = restricted
        self._states = states
        self._receive = receive
        self._relay = relay
        self._server_name = server_name
        self._signing_key = signing_key

    async def join(
        self, origin: str, room_id: str, event_id: str, pdu: Mapping[str, Any], *, omit_members: bool = False
    ) -> dict[str, Any]:
        """Take a join, and tell the room's state before it with all it rests on."""
        sent = await self._send(origin, "join", room_id, event_id, pdu)
        state = await self._states.load(StateAt(sent.stored.state_before))
        if omit_members:
            kept = {sent.stored.event.sender}
            if not any(name in state for name in _NAMES):
                members = [key for kind, key in state if kind == MEMBER and key not in kept]
                kept.update(members[:_MOST_HEROES])
            state = {key: id_ for key, id_ in state.items() if key[0] != MEMBER or key[1] in kept}
        held = list((await self._events.get_many(state.values())).values())
        chain = await self._database.read(load_auth_chain, [*(stored.event for stored in held), sent.stored.event])
        answer: dict[str, Any] = {
            "auth_chain": [wire_form(stored) for stored in chain.values()],
            "event": sent.stored.event.pdu,
            "members_omitted": omit_members,
            "origin": self._server_name,
            "state": [wire_form(stored) for stored in held],
        }
        if omit_members:
            servers = await self._joined.of(sent.room)
            answer["servers_in_room"] = [name for name in servers if name != origin or servers[name] > 1]
        return answer

    async def knock(self, origin: str, room_id: str, event_id: str, pdu: Mapping[str, Any]) -> dict[str, Any]:
        """Take a knock, and show what the room is."""
        sent = await self._send(origin, "knock", room_id, event_id, pdu)
        return {"knock_room_state": await shown_of(sent.room, self._events)}

    async def leave(self, origin: str, room_id: str, event_id: str, pdu: Mapping[str, Any]) -> None:
        """Take a leave: the end of an invite, a knock or a stay."""
        await self._send(origin, "leave", room_id, event_id, pdu)

    async def _send(self, origin: str, membership: str, room_id: str, event_id: str, pdu: Mapping[str, Any]) -> _Sent:
        room = await self._access.room_for(origin, room_id, must_be_in_it=False)
        event = self._checked(origin, membership, room, event_id, pdu)
        if membership == "join":
            event = await self._vouched_for(room, event)
        failures = await self._checks.signature_failures([event])
        if failures:
            raise invalid_param(failures[event.event_id].reason)
        received = await self._receive.receive_event(origin, event, self._relay)
        if received.stored is None:
            raise MatrixError("M_UNKNOWN", received.dropped or "The event cannot be placed in the room.", 400)
        if received.stored.standing is not Standing.ACCEPTED:
            raise forbidden(received.stored.reason or "The event is not allowed in the room.")
        return _Sent(room, received.stored)

    @staticmethod
    def _checked(origin: str, membership: str, room: Room, event_id: str, pdu: Mapping[str, Any]) -> Event:
        try:
            event = parse_pdu(pdu, room.version, room.room_id)
        except PduDropped as dropped:
            raise invalid_param(str(dropped)) from None
        if event.event_id != event_id:
            raise invalid_param("The event has another ID than the path.")
        if event.type != MEMBER or event.membership != membership:
            raise invalid_param(f"The event does not {membership}.")
        if server_name_of(event.sender) != origin or event.state_key != event.sender:
            raise invalid_param("The event is not by and about a user of your server.")
        if not has_valid_content_hash(event.pdu):
            raise invalid_param("The event's content is not what was hashed.")
        return event

    async def _vouched_for(self, room: Room, event: Event) -> Event:
        """A restricted join that names a user of ours as who lets the sender in, signed by us once we agree."""
        authoriser = event.content.get("join_authorised_via_users_server")
        if not room.version.auth.restricted_joins or not isinstance(authoriser, str):
            return event
        if server_name_of(authoriser) != self._server_name:
            return event
        await self._restricted.authorisation(room, event.sender)
        signed = add_signature(event.pdu, room.version, self._server_name, self._signing_key)
        return Event(signed, room.version, event.event_id)
