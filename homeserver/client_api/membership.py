"""Joining, leaving, inviting, kicking, banning and knocking over HTTP.

Spec: client-server-api #room-membership
"""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.client_api.bodies import Reason, UserAndReason
from homeserver.client_api.paths import v3
from homeserver.protocol.errors import invalid_param, missing_param
from homeserver.protocol.identifiers import is_room_id
from homeserver.services.accounts.tokens import check_not_suspended
from homeserver.services.rooms.aliases import RoomDirectory
from homeserver.services.rooms.membership import MembershipService
from homeserver.services.rooms.read_room import ReadRoom
from homeserver.services.third_party_ids.invites import InviteByAddress, ThirdPartyInvitations
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester


class JoinBody(msgspec.Struct):
    """The body of a join."""

    reason: str | None = None
    third_party_signed: dict[str, Any] | None = None


class InviteBody(msgspec.Struct):
    """An invitation of a user, or of somebody known by e-mail address or telephone number only."""

    user_id: str | None = None
    reason: str | None = None
    id_server: str | None = None
    id_access_token: str | None = None
    medium: str | None = None
    address: str | None = None


class RoomMembershipApi:
    """The endpoints that change who is in a room."""

    def __init__(
        self,
        membership: MembershipService,
        directory: RoomDirectory,
        rooms: ReadRoom,
        third_party: ThirdPartyInvitations,
    ) -> None:
        self._membership = membership
        self._directory = directory
        self._rooms = rooms
        self._third_party = third_party

    @endpoint(
        "POST",
        v3("/join/{roomIdOrAlias}"),
        auth=Auth.GUEST_OK,
        operation="joinRoom",
        limit="join",
        body=JoinBody,
        optional_body=True,
    )
    async def join_room(self, request: Request, requester: Requester, body: JoinBody) -> dict[str, Any]:
        check_not_suspended(requester)
        room_id, via = await self._resolve(request, request.path["roomIdOrAlias"])
        return await self._join(requester, room_id, via, body)

    @endpoint(
        "POST",
        v3("/rooms/{roomId}/join"),
        auth=Auth.GUEST_OK,
        operation="joinRoomById",
        limit="join",
        body=JoinBody,
        optional_body=True,
    )
    async def join_room_by_id(self, request: Request, requester: Requester, body: JoinBody) -> dict[str, Any]:
        check_not_suspended(requester)
        return await self._join(requester, request.path["roomId"], [], body)

    @endpoint(
        "POST",
        v3("/knock/{roomIdOrAlias}"),
        operation="knockRoom",
        limit="join",
        body=Reason,
        optional_body=True,
    )
    async def knock_room(self, request: Request, requester: Requester, body: Reason) -> dict[str, Any]:
        check_not_suspended(requester)
        room_id, via = await self._resolve(request, request.path["roomIdOrAlias"])
        await self._membership.knock(requester.user_id, room_id, via=via, reason=body.reason)
        return {"room_id": room_id}

    @endpoint(
        "POST",
        v3("/rooms/{roomId}/leave"),
        auth=Auth.GUEST_OK,
        operation="leaveRoom",
        body=Reason,
        optional_body=True,
    )
    async def leave_room(self, request: Request, requester: Requester, body: Reason) -> dict[str, Any]:
        await self._membership.leave(requester.user_id, request.path["roomId"], body.reason)
        return {}

    @endpoint("POST", v3("/rooms/{roomId}/forget"), auth=Auth.GUEST_OK, operation="forgetRoom")
    async def forget_room(self, request: Request, requester: Requester) -> dict[str, Any]:
        await self._membership.forget(requester.user_id, request.path["roomId"])
        return {}

    @endpoint(
        "POST",
        v3("/rooms/{roomId}/invite"),
        operation="inviteUser",
        limit="invite",
        body=InviteBody,
    )
    async def invite_user(self, request: Request, requester: Requester, body: InviteBody) -> dict[str, Any]:
        check_not_suspended(requester)
        if body.user_id is None:
            wanted = _invite_by_address(body)
            await self._third_party.invite(requester.user_id, request.path["roomId"], wanted, body.reason)
            return {}
        await self._membership.invite(requester.user_id, request.path["roomId"], body.user_id, body.reason)
        return {}

    @endpoint("POST", v3("/rooms/{roomId}/kick"), operation="kick", body=UserAndReason)
    async def kick(self, request: Request, requester: Requester, body: UserAndReason) -> dict[str, Any]:
        await self._membership.kick(requester.user_id, request.path["roomId"], body.user_id, body.reason)
        return {}

    @endpoint("POST", v3("/rooms/{roomId}/ban"), operation="ban", body=UserAndReason)
    async def ban(self, request: Request, requester: Requester, body: UserAndReason) -> dict[str, Any]:
        await self._membership.ban(requester.user_id, request.path["roomId"], body.user_id, body.reason)
        return {}

    @endpoint("POST", v3("/rooms/{roomId}/unban"), operation="unban", body=UserAndReason)
    async def unban(self, request: Request, requester: Requester, body: UserAndReason) -> dict[str, Any]:
        await self._membership.unban(requester.user_id, request.path["roomId"], body.user_id, body.reason)
        return {}

    @endpoint("GET", v3("/joined_rooms"), auth=Auth.GUEST_OK, operation="getJoinedRooms")
    async def joined_rooms(self, request: Request, requester: Requester) -> dict[str, Any]:
        return {"joined_rooms": await self._rooms.joined_rooms(requester.user_id)}

    async def _join(self, requester: Requester, room_id: str, via: list[str], body: JoinBody) -> dict[str, Any]:
        content = {} if body.reason is None else {"reason": body.reason}
        await self._membership.join(requester.user_id, room_id, via=via, content=content, is_guest=requester.is_guest)
        return {"room_id": room_id}

    async def _resolve(self, request: Request, id_or_alias: str) -> tuple[str, list[str]]:
        via = [*request.query_list("via"), *request.query_list("server_name")]
        if id_or_alias.startswith("#"):
            found = await self._directory.find(id_or_alias)
            return found.room_id, [*via, *found.servers]
        if not is_room_id(id_or_alias):
            raise invalid_param(f"{id_or_alias!r} is neither a room id nor a room alias.")
        return id_or_alias, via


def _invite_by_address(body: InviteBody) -> InviteByAddress:
    if body.medium is None and body.address is None:
        raise missing_param("`user_id` says whom to invite.")
    if body.id_server is None or body.id_access_token is None or body.medium is None or body.address is None:
        raise missing_param("An address needs `medium`, `address`, `id_server` and `id_access_token`.")
    return InviteByAddress(body.id_server, body.id_access_token, body.medium, body.address)
