"""Invitations of people of whom one knows no user ID, only an address; an identity server knows, or passes them on.

Spec: client-server-api #third-party-invites
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from homeserver.protocol.errors import forbidden, invalid_param
from homeserver.protocol.power_levels import PowerLevels
from homeserver.protocol.third_party_ids import MEDIUMS, canonical_address

if TYPE_CHECKING:
    from homeserver.protocol.events import Event, StateKey
    from homeserver.services.rooms.event_store import EventStore
    from homeserver.services.rooms.membership import MembershipService, ProfileSource
    from homeserver.services.rooms.room import Room, Rooms
    from homeserver.services.rooms.send_event import SendEvent
    from homeserver.services.third_party_ids.identity_servers import IdentityServers

_CREATE: StateKey = ("m.room.create", "")
_POWER_LEVELS: StateKey = ("m.room.power_levels", "")
# What the message to the address may tell of the room, by its name in the identity server's API.
_SHOWN: dict[str, tuple[StateKey, str]] = {
    "room_name": (("m.room.name", ""), "name"),
    "room_alias": (("m.room.canonical_alias", ""), "alias"),
    "room_avatar_url": (("m.room.avatar", ""), "url"),
    "room_join_rules": (("m.room.join_rules", ""), "join_rule"),
    "room_type": (_CREATE, "type"),
}


@dataclass(frozen=True, slots=True)
class InviteByAddress:
    """Whom to invite, and the identity server to ask, with the user's access token for it."""

    id_server: str
    id_access_token: str
    medium: str
    address: str


class ThirdPartyInvitations:
    """The use case behind `POST /rooms/{roomId}/invite` with an address, and `invite_3pid` of `/createRoom`."""

    def __init__(
        self,
        rooms: Rooms,
        events: EventStore,
        membership: MembershipService,
        send: SendEvent,
        profiles: ProfileSource,
        identity_servers: IdentityServers,
    ) -> None:
        self._rooms = rooms
        self._events = events
        self._membership = membership
        self._send = send
        self._profiles = profiles
        self._identity_servers = identity_servers

    def check(self, wanted: InviteByAddress) -> str:
        """The canonical address. M_SERVER_NOT_TRUSTED, M_INVALID_PARAM."""
        self._identity_servers.check(wanted.id_server)
        if wanted.medium not in MEDIUMS:
            raise invalid_param("`medium` must be email or msisdn.")
        return canonical_address(wanted.medium, wanted.address)

    async def invite(self, sender: str, room_id: str, wanted: InviteByAddress, reason: str | None = None) -> None:
        """Invite the user who has published the address, or have the identity server write to it.

        M_FORBIDDEN for senders who may not invite, before anybody else is asked; what `IdentityServers` raises.
        """
        room = await self._rooms.get(room_id)
        state = await self._events.get_state(room.state, [_POWER_LEVELS, *(key for key, _ in _SHOWN.values())])
        self._check_may_invite(room, state, sender)
        address = self.check(wanted)
        server, token = wanted.id_server, wanted.id_access_token
        user_id = await self._identity_servers.find_user(server, token, wanted.medium, address)
        if user_id is not None:
            await self._membership.invite(sender, room_id, user_id, reason)
            return
        invite = {**await self._told(room, state, sender), "medium": wanted.medium, "address": address}
        stored = await self._identity_servers.store_invite(server, token, invite)
        await self._send.set_state(sender, room_id, "m.room.third_party_invite", stored.token, stored.content)

    @staticmethod
    def _check_may_invite(room: Room, state: dict[StateKey, Event], sender: str) -> None:
        if room.local_members.get(sender) != "join":
            raise forbidden("You are not in this room.")
        levels = PowerLevels.of(state, room.version)
        if levels.of_user(sender) < levels.invite:
            raise forbidden("You may not invite anybody to this room.")

    async def _told(self, room: Room, state: dict[StateKey, Event], sender: str) -> dict[str, Any]:
        profile = await self._profiles.get(sender)
        told: dict[str, Any] = {
            "room_id": room.room_id,
            "sender": sender,
            "sender_display_name": profile.displayname,
            "sender_avatar_url": profile.avatar_url,
        }
        for name, (key, field) in _SHOWN.items():
            event = state.get(key)
            told[name] = event.content.get(field) if event is not None else None
        return {name: value for name, value in told.items() if isinstance(value, str) and value}
