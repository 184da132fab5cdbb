"""`POST /rooms/{roomId}/upgrade`.

Spec: client-server-api #room-upgrades
"""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.client_api.paths import v3
from homeserver.services.rooms.upgrade_room import UpgradeRoom
from homeserver.web.endpoint import endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester


class UpgradeBody(msgspec.Struct):
    """Which version the new room is to have, and who else is its creator."""

    new_version: str
    additional_creators: list[str] = msgspec.field(default_factory=list)


class RoomUpgradesApi:
    """The endpoint that upgrades rooms."""

    def __init__(self, upgrades: UpgradeRoom) -> None:
        self._upgrades = upgrades

    @endpoint(
        "POST",
        v3("/rooms/{roomId}/upgrade"),
        operation="upgradeRoom",
        limit="create_room",
        body=UpgradeBody,
    )
    async def upgrade(self, request: Request, requester: Requester, body: UpgradeBody) -> dict[str, Any]:
        replacement = await self._upgrades.upgrade(
            requester.user_id, request.path["roomId"], body.new_version, body.additional_creators
        )
        return {"replacement_room": replacement}
