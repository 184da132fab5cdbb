"""The dehydrated device: uploaded, fetched, its messages read, deleted.

Spec: MSC3814
"""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.client_api.paths import unstable
from homeserver.protocol.errors import invalid_param
from homeserver.services.devices.dehydrated_devices import DehydratedDevices
from homeserver.services.devices.device_keys import KeyUpload
from homeserver.web.endpoint import endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

_DEVICE = unstable("org.matrix.msc3814.v1", "/dehydrated_device")
_EVENTS = unstable("org.matrix.msc3814.v1", "/dehydrated_device/{deviceId}/events")


class _DeviceBody(msgspec.Struct):
    device_id: str
    device_data: dict[str, Any]
    device_keys: dict[str, Any]
    initial_device_display_name: str | None = None
    one_time_keys: dict[str, Any] | None = None
    fallback_keys: dict[str, Any] | None = None


class _EventsBody(msgspec.Struct):
    next_batch: str | None = None


class DehydratedDevicesApi:
    def __init__(self, dehydrated: DehydratedDevices) -> None:
        self._dehydrated = dehydrated

    @endpoint("PUT", _DEVICE, limit="key_upload", body=_DeviceBody)
    async def put_device(self, request: Request, requester: Requester, body: _DeviceBody) -> dict[str, Any]:
        keys = KeyUpload(body.device_keys, body.one_time_keys, body.fallback_keys)
        await self._dehydrated.put(
            requester.user_id, body.device_id, body.device_data, body.initial_device_display_name, keys
        )
        return {"device_id": body.device_id}

    @endpoint("GET", _DEVICE, limit="key_query")
    async def get_device(self, request: Request, requester: Requester) -> dict[str, Any]:
        return (await self._dehydrated.get(requester.user_id))._asdict()

    @endpoint("DELETE", _DEVICE, limit="key_upload")
    async def delete_device(self, request: Request, requester: Requester) -> dict[str, Any]:
        return {"device_id": await self._dehydrated.delete(requester.user_id)}

    @endpoint("GET", _EVENTS, limit="key_query")
    async def get_events(self, request: Request, requester: Requester) -> dict[str, Any]:
        after = _position(request.find_query("from"))
        events, reached, more = await self._dehydrated.events(requester.user_id, request.path["deviceId"], after)
        return {"events": events, "next_batch": str(reached)} if more else {"events": events}

    @endpoint("POST", _EVENTS, limit="key_query", body=_EventsBody, optional_body=True)
    async def post_events(self, request: Request, requester: Requester, body: _EventsBody) -> dict[str, Any]:
        """The form that clients in the field use: they ask on until a batch is empty."""
        after = _position(body.next_batch)
        events, reached, _ = await self._dehydrated.events(requester.user_id, request.path["deviceId"], after)
        return {"events": events, "next_batch": str(reached)}


def _position(token: str | None) -> int:
    if token is None:
        return 0
    if not (token.isascii() and token.isdigit() and len(token) <= 18):
        raise invalid_param("This token is not one of this server.")
    return int(token)
