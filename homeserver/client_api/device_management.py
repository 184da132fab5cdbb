"""`/devices`: the user's devices.

Spec: client-server-api #device-management
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from homeserver.client_api.paths import v3
from homeserver.protocol.errors import JsonValue
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester
from homeserver.web.responses import JsonBytes, json_answer
from homeserver.web.runner import check_body

if TYPE_CHECKING:
    from homeserver.services.accounts.user_interactive_auth import UserInteractiveAuth
    from homeserver.services.devices.devices import Device, Devices


class DeviceBody(msgspec.Struct):
    display_name: str | None = None


class _DevicesBody(msgspec.Struct):
    devices: list[str]


class DeviceManagementApi:
    def __init__(self, devices: Devices, interactive_auth: UserInteractiveAuth) -> None:
        self._devices = devices
        self._interactive_auth = interactive_auth

    @endpoint("GET", v3("/devices"), auth=Auth.GUEST_OK, operation="getDevices")
    async def get_devices(self, request: Request, requester: Requester) -> JsonValue:
        return {"devices": [_shown(device) for device in await self._devices.list_of(requester.user_id)]}

    @endpoint("GET", v3("/devices/{deviceId}"), auth=Auth.GUEST_OK, operation="getDevice")
    async def get_device(self, request: Request, requester: Requester) -> JsonValue:
        return _shown(await self._devices.get(requester.user_id, request.path["deviceId"]))

    @endpoint(
        "PUT", v3("/devices/{deviceId}"), auth=Auth.GUEST_OK, operation="updateDevice", limit="account", body=DeviceBody
    )
    async def update_device(self, request: Request, requester: Requester, body: DeviceBody) -> JsonBytes:
        user_id, device_id = requester.user_id, request.path["deviceId"]
        if requester.appservice_id is not None:
            created = await self._devices.create_or_rename(user_id, device_id, body.display_name)
            return json_answer({}, 201 if created else 200)
        if body.display_name is None:
            await self._devices.get(user_id, device_id)
        else:
            await self._devices.rename(user_id, device_id, body.display_name)
        return json_answer({})

    @endpoint("DELETE", v3("/devices/{deviceId}"), operation="deleteDevice", body=dict, optional_body=True)
    async def delete_device(self, request: Request, requester: Requester, body: dict[str, Any]) -> JsonValue:
        device_id = request.path["deviceId"]
        await self._authorise(f"delete device {device_id}", request, requester, body, [device_id])
        await self._devices.delete(requester.user_id, [device_id])
        return {}

    @endpoint("POST", v3("/delete_devices"), operation="deleteDevices", body=dict)
    async def delete_devices(self, request: Request, requester: Requester, body: dict[str, Any]) -> JsonValue:
        is_continued = isinstance(body.get("auth"), dict) and "session" in body["auth"] and "devices" not in body
        device_ids = [] if is_continued else check_body(body, _DevicesBody).devices
        device_ids = await self._authorise("delete devices", request, requester, body, device_ids or None)
        await self._devices.delete(requester.user_id, device_ids)
        return {}

    async def _authorise(
        self,
        operation: str,
        request: Request,
        requester: Requester,
        body: dict[str, Any],
        device_ids: list[str] | None,
    ) -> list[str]:
        """The devices to delete, confirmed by their owner; None stands for those named earlier in the exchange."""
        if requester.appservice_id is not None:
            return device_ids or []
        kept: dict[str, Any] = {} if device_ids is None else {"devices": device_ids}
        authorised = await self._interactive_auth.authorise_account(
            operation, requester.user_id, body.get("auth"), kept, request.client_address, fixed=("devices",)
        )
        return list(authorised.body.get("devices", ()))


def _shown(device: Device) -> dict[str, JsonValue]:
    shown: dict[str, JsonValue] = {"device_id": device.device_id}
    if device.display_name is not None:
        shown["display_name"] = device.display_name
    if device.last_seen_ip is not None:
        shown["last_seen_ip"] = device.last_seen_ip
    if device.last_seen_ms is not None:
        shown["last_seen_ts"] = device.last_seen_ms
    return shown
