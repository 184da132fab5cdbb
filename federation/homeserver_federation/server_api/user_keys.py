"""`/user/keys`: queries and claims of our users' keys by other servers.

Spec: server-server-api #end-to-end-encryption
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from homeserver.protocol.errors import JsonValue
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver_federation.paths import v1

if TYPE_CHECKING:
    from homeserver.services.devices.device_keys import DeviceKeys


class _QueryBody(msgspec.Struct):
    device_keys: dict[str, list[str]]


class _ClaimBody(msgspec.Struct):
    one_time_keys: dict[str, dict[str, str]]


class UserKeysApi:
    """`device_names`: whether other servers learn what users call their devices."""

    def __init__(self, keys: DeviceKeys, *, device_names: bool) -> None:
        self._keys = keys
        self._device_names = device_names

    @endpoint(
        "POST",
        v1("/user/keys/query"),
        auth=Auth.SERVER,
        operation="queryUserEncryptionKeys",
        limit="federation",
        body=_QueryBody,
    )
    async def query_user_keys(self, request: Request, origin: str, body: _QueryBody) -> JsonValue:
        found = await self._keys.query_local(body.device_keys)
        if not self._device_names:
            _hide_names(found.device_keys)
        answer: dict[str, Any] = {"device_keys": found.device_keys}
        if found.master_keys:
            answer["master_keys"] = found.master_keys
        if found.self_signing_keys:
            answer["self_signing_keys"] = found.self_signing_keys
        return answer

    @endpoint(
        "POST",
        v1("/user/keys/claim"),
        auth=Auth.SERVER,
        operation="claimUserEncryptionKeys",
        limit="federation",
        body=_ClaimBody,
    )
    async def claim_user_keys(self, request: Request, origin: str, body: _ClaimBody) -> JsonValue:
        return {"one_time_keys": await self._keys.claim_local(body.one_time_keys)}


def _hide_names(device_keys: dict[str, dict[str, Any]]) -> None:
    for devices in device_keys.values():
        for device in devices.values():
            device["unsigned"] = {
                key: value for key, value in device.get("unsigned", {}).items() if key != "device_display_name"
            }
