"""Turns invites to e-mail addresses into invites of the users who turned out to own them.

Spec: server-server-api #third-party-invites
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeserver.protocol.errors import bad_json, forbidden, invalid_param
from homeserver.protocol.event_builder import EventDraft
from homeserver.protocol.identifiers import check_user_id, server_name_of
from homeserver.protocol.third_party_invites import signed_part_of
from homeserver.services.rooms.append_event import AppendEvent
from homeserver.services.rooms.room import MEMBER
from homeserver_federation.rooms.access import ServerAccess
from homeserver_federation.rooms.invite import InviteToRoom


class ThirdPartyInvites:
    """The use case behind `/exchange_third_party_invite`."""

    def __init__(self, access: ServerAccess, append: AppendEvent, invite: InviteToRoom, server_name: str) -> None:
        self._access = access
        self._append = append
        self._invite = invite
        self._server_name = server_name

    async def exchange(self, origin: str, room_id: str, body: Mapping[str, Any]) -> None:
        """Invite the user whom an identity server has vouched for. The authorisation rules check its signature."""
        content = body.get("content")
        if body.get("type") != MEMBER or body.get("room_id") != room_id or not isinstance(content, dict):
            raise invalid_param("This is no member event of that room.")
        if content.get("membership") != "invite":
            raise invalid_param("The event is no invite.")
        signed = signed_part_of(content)
        if signed is None:
            raise bad_json("The invite has no `third_party_invite` that was signed.")
        sender, target = check_user_id(body.get("sender")), check_user_id(body.get("state_key"))
        if signed.get("mxid") != target:
            raise forbidden("The invite was made out to somebody else.")
        room = await self._access.room_for(origin, room_id, must_be_in_it=False)
        if room.local_members.get(sender) != "join":
            raise forbidden("Who sent the invite is not in the room any more.")
        kept = {"membership": "invite", "third_party_invite": content["third_party_invite"]}
        draft = EventDraft(room_id, MEMBER, sender, kept, state_key=target)
        if server_name_of(target) == self._server_name:
            await self._append.append(room_id, lambda _: [draft])
            return
        event = await self._append.build(room, draft)
        await self._append.append_built(room_id, await self._invite.invite(event))
