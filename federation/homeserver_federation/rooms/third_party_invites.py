"""Turns invites to e-mail addresses into invites of the users who turned out to own them.

Spec: server-server-api #third-party-invites
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from homeserver.protocol.errors import MatrixError, bad_json, forbidden, invalid_param
from homeserver.protocol.event_builder import EventDraft
from homeserver.protocol.identifiers import check_user_id, is_room_id, is_user_id, server_name_of
from homeserver.protocol.third_party_invites import signed_part_of
from homeserver.services.rooms.append_event import AppendEvent
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.room import MEMBER, Room
from homeserver_federation.client import federation_path
from homeserver_federation.errors import FederationError
from homeserver_federation.ports import ServerClient
from homeserver_federation.rooms.access import ServerAccess
from homeserver_federation.rooms.invite import InviteToRoom

_THIRD_PARTY_INVITE = "m.room.third_party_invite"
_MOST_INVITES = 50
_TIMEOUT_MS = 10_000
_log = structlog.get_logger("homeserver.federation.third_party_invites")


class ThirdPartyInvites:
    """The use cases behind `/exchange_third_party_invite` and `/3pid/onbind`."""

    def __init__(
        self,
        access: ServerAccess,
        events: EventStore,
        append: AppendEvent,
        invite: InviteToRoom,
        client: ServerClient,
        server_name: str,
    ) -> None:
        self._access = access
        self._events = events
        self._append = append
        self._invite = invite
        self._client = client
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
        shown = {
            "display_name": await self._display_name(room, content["third_party_invite"], signed),
            "signed": signed,
        }
        kept = {"membership": "invite", "third_party_invite": shown}
        draft = EventDraft(room_id, MEMBER, sender, kept, state_key=target)
        if server_name_of(target) == self._server_name:
            await self._append.append(room_id, lambda _: [draft])
            return
        event = await self._append.build(room, draft)
        await self._append.append_built(room_id, await self._invite.invite(event))

    async def bind(self, user_id: object, invites: Sequence[object]) -> None:
        """Have a local user invited wherever the address that is now theirs was invited to.

        Whoever calls need not be an identity server: it is the servers in the rooms that check the signatures. One
        invite that fails does not hold up the others.
        """
        if not isinstance(user_id, str) or not is_user_id(user_id) or server_name_of(user_id) != self._server_name:
            raise invalid_param("The address was not bound to a user of this server.")
        for invite in invites[:_MOST_INVITES]:
            event = _member_event(user_id, invite)
            if event is None:
                continue
            try:
                await self._redeem(event)
            except (MatrixError, FederationError) as error:
                _log.info("third-party invite failed", room_id=event["room_id"], reason=str(error))

    async def _redeem(self, event: Mapping[str, Any]) -> None:
        server = server_name_of(event["sender"])
        if server == self._server_name:
            await self.exchange(server, event["room_id"], event)
            return
        path = federation_path("v1", "exchange_third_party_invite", event["room_id"])
        await self._client.put(server, path, event, timeout_ms=_TIMEOUT_MS)

    async def _display_name(self, room: Room, given: object, signed: Mapping[str, Any]) -> str:
        """The name that the invite to the address showed; what came with the exchange where that is not known."""
        key = (_THIRD_PARTY_INVITE, str(signed.get("token")))
        held = (await self._events.get_state(room.state, [key])).get(key)
        for source in (held.content if held is not None else None, given):
            name = source.get("display_name") if isinstance(source, Mapping) else None
            if isinstance(name, str):
                return name
        return ""


def _member_event(user_id: str, invite: object) -> dict[str, Any] | None:
    """The invite that the room's servers are to make; None of what is no invite of this user."""
    if not isinstance(invite, dict):
        return None
    room_id, sender, signed = invite.get("room_id"), invite.get("sender"), invite.get("signed")
    if not isinstance(room_id, str) or not is_room_id(room_id):
        return None
    if not isinstance(sender, str) or not is_user_id(sender):
        return None
    if not isinstance(signed, dict) or signed.get("mxid") != user_id:
        return None
    content = {"membership": "invite", "third_party_invite": {"display_name": "", "signed": signed}}
    return {"type": MEMBER, "room_id": room_id, "sender": sender, "state_key": user_id, "content": content}
