"""`POST /createRoom`.

Spec: client-server-api #creation
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import structlog

from homeserver.client_api.paths import v3
from homeserver.protocol.errors import MatrixError
from homeserver.services.accounts.tokens import check_not_suspended
from homeserver.services.rooms.aliases import RoomDirectory
from homeserver.services.rooms.create_room import CreateRoom, NewRoom
from homeserver.services.third_party_ids.invites import InviteByAddress, ThirdPartyInvitations
from homeserver.web.endpoint import endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

_log = structlog.get_logger("homeserver.rooms")


class Invite3pid(msgspec.Struct):
    """Somebody known by address only."""

    id_server: str
    id_access_token: str
    medium: str
    address: str


class CreateRoomBody(msgspec.Struct):
    """What a new room is to be like."""

    visibility: Literal["public", "private"] | None = None
    room_alias_name: str | None = None
    name: str | None = None
    topic: str | None = None
    invite: list[str] = msgspec.field(default_factory=list)
    invite_3pid: list[Invite3pid] = msgspec.field(default_factory=list)
    room_version: str | None = None
    creation_content: dict[str, Any] = msgspec.field(default_factory=dict)
    initial_state: list[dict[str, Any]] = msgspec.field(default_factory=list)
    preset: Literal["private_chat", "public_chat", "trusted_private_chat"] | None = None
    is_direct: bool = False
    power_level_content_override: dict[str, Any] | None = None


class CreateRoomApi:
    """The endpoint that makes rooms."""

    def __init__(self, rooms: CreateRoom, directory: RoomDirectory, third_party: ThirdPartyInvitations) -> None:
        self._rooms = rooms
        self._directory = directory
        self._third_party = third_party

    @endpoint(
        "POST",
        v3("/createRoom"),
        operation="createRoom",
        limit="create_room",
        body=CreateRoomBody,
    )
    async def create_room(self, request: Request, requester: Requester, body: CreateRoomBody) -> dict[str, Any]:
        check_not_suspended(requester)
        by_address = [
            InviteByAddress(one.id_server, one.id_access_token, one.medium, one.address) for one in body.invite_3pid
        ]
        for invite in by_address:
            self._third_party.check(invite)
        if body.room_alias_name is not None:
            self._directory.check_free(body.room_alias_name, requester.appservice_id)
        wanted = NewRoom(
            version=body.room_version,
            preset=body.preset,
            public=body.visibility == "public",
            name=body.name,
            topic=body.topic,
            alias_localpart=body.room_alias_name,
            invite=body.invite,
            is_direct=body.is_direct,
            creation_content=body.creation_content,
            initial_state=body.initial_state,
            power_level_override=body.power_level_content_override,
        )
        room_id = await self._rooms.create(requester.user_id, wanted)
        for invite in by_address:
            try:
                await self._third_party.invite(requester.user_id, room_id, invite)
            except MatrixError as error:
                # The room is there, and its creator must learn of it; they see who was not invited, and try again.
                _log.info("invite by address failed", room_id=room_id, errcode=error.errcode)
        return {"room_id": room_id}
