"""Invites of other servers' users for ours: checked, signed, and kept if this server is not in the room.

Spec: server-server-api #put_matrixfederationv2inviteroomideventid
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from homeserver.protocol.errors import MatrixError, forbidden, incompatible_room_version, invalid_param, not_found
from homeserver.protocol.event_hashes import add_signature, has_valid_content_hash
from homeserver.protocol.events import Event
from homeserver.protocol.identifiers import server_name_of
from homeserver.protocol.room_versions import RoomVersion, find_room_version
from homeserver.protocol.signing import SigningKey
from homeserver.services.rooms.membership import InvitePermissions
from homeserver.services.rooms.room import MEMBER, Rooms
from homeserver.storage.accounts import find_user
from homeserver.storage.database import Database
from homeserver_federation.inbound.check_format import PduDropped, parse_pdu
from homeserver_federation.inbound.outside_rooms import OutsideRooms
from homeserver_federation.ports import SignatureChecks
from homeserver_federation.room_locks import RoomLocks
from homeserver_federation.rooms.access import ServerAccess
from homeserver_federation.rooms.joined_servers import is_resident
from homeserver_federation.rooms.knock import with_unsigned
from homeserver_federation.rooms.stripped_state import stripped


class InviteGate(Protocol):
    """What this server's owner has to say of invites from elsewhere; raises MatrixError to refuse one."""

    async def check_remote_invite(self, event: Event) -> None: ...


class ReceiveInvite:
    """The use case behind `/invite`."""

    def __init__(
        self,
        database: Database,
        rooms: Rooms,
        locks: RoomLocks,
        access: ServerAccess,
        checks: SignatureChecks,
        outside: OutsideRooms,
        permissions: InvitePermissions,
        gate: InviteGate | None,
        server_name: str,
        signing_key: SigningKey,
    ) -> None:
        self._database = database
        self._rooms = rooms
        self._locks = locks
        self._access = access
        self._checks = checks
        self._outside = outside
        self._permissions = permissions
        self._gate = gate
        self._server_name = server_name
        self._signing_key = signing_key

    async def receive(
        self, origin: str, room_id: str, event_id: str, version: object, pdu: object, shown: object
    ) -> dict[str, Any]:
        """The invite with our signature. `shown` is what the other server shows of the room."""
        known_version = find_room_version(version)
        if known_version is None:
            raise incompatible_room_version(str(version))
        event = await self._checked(origin, room_id, event_id, known_version, pdu)
        target = event.key[1]
        state = await stripped(known_version, room_id, shown, self._checks)
        user = await self._database.read(find_user, target)
        if user is None:
            raise not_found(f"There is no user {target} here.")
        if await self._permissions.blocks_invites(target):
            raise MatrixError("M_INVITE_BLOCKED", f"{target} does not accept invitations.", 403)
        if self._gate is not None:
            await self._gate.check_remote_invite(event)
        signed = add_signature(event.pdu, known_version, self._server_name, self._signing_key)
        async with self._locks.hold(room_id):
            room = await self._rooms.find(room_id)
            # A server that is in the room gets the invite again with everybody else.
            if room is None or not is_resident(room):
                kept = Event(signed, known_version, event.event_id)
                await self._outside.record(with_unsigned(kept, {"invite_room_state": state}))
        return signed

    async def _checked(self, origin: str, room_id: str, event_id: str, version: RoomVersion, pdu: object) -> Event:
        try:
            event = parse_pdu(pdu, version, room_id)
        except PduDropped as dropped:
            raise invalid_param(str(dropped)) from None
        if event.event_id != event_id:
            raise invalid_param("The event has another ID than the path.")
        if event.type != MEMBER or event.membership != "invite" or event.state_key is None:
            raise invalid_param("The event is no invite.")
        if server_name_of(event.sender) != origin:
            raise invalid_param("The event is not by a user of your server.")
        if server_name_of(event.state_key) != self._server_name:
            raise invalid_param("The event invites nobody of this server.")
        if not has_valid_content_hash(event.pdu):
            raise invalid_param("The event's content is not what was hashed.")
        failures = await self._checks.signature_failures([event])
        if failures:
            raise invalid_param(failures[event.event_id].reason)
        await self._check_room(origin, event)
        return event

    async def _check_room(self, origin: str, event: Event) -> None:
        room = await self._rooms.find(event.room_id)
        if room is None or not room.state:
            return
        if room.version is not event.room_version:
            raise invalid_param("The room is of another version.")
        if is_resident(room) and not await self._access.is_allowed(origin, room):
            raise forbidden("Your server is not allowed in this room.")


def pdu_and_state(body: Mapping[str, Any]) -> tuple[dict[str, Any], object]:
    """The two parts of an invite in the older format, in which the state comes inside of the event."""
    unsigned = body.get("unsigned")
    shown = unsigned.get("invite_room_state") if isinstance(unsigned, dict) else None
    return dict(body), shown
