"""`/user/devices`: the devices and cross-signing keys of one of our users.

Spec: server-server-api #device-management
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from homeserver.protocol.errors import JsonValue, invalid_param
from homeserver.protocol.identifiers import check_user_id, server_name_of
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver_federation.paths import v1

if TYPE_CHECKING:
    from homeserver.services.devices.device_keys import DeviceKeys


class UserDevicesApi:
    """`device_names`: whether other servers learn what users call their devices."""

    def __init__(self, server_name: str, keys: DeviceKeys, *, device_names: bool) -> None:
        self._server_name = server_name
        self._keys = keys
        self._device_names = device_names

    @endpoint("GET", v1("/user/devices/{userId}"), auth=Auth.SERVER, operation="getUserDevices", limit="federation")
    async def get_user_devices(self, request: Request, origin: str) -> JsonValue:
        user_id = check_user_id(request.path["userId"])
        if server_name_of(user_id) != self._server_name:
            raise invalid_param("This user is of another server.")
        answer = await self._keys.user_devices(user_id)
        if not self._device_names:
            for device in answer["devices"]:
                device.pop("device_display_name", None)
        return answer
