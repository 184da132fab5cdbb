"""`/admin`: the moderation of accounts that the specification knows.

Spec: client-server-api #account-moderation
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from homeserver.client_api.paths import v1, v3
from homeserver.protocol.errors import JsonValue, forbidden, invalid_param, not_found
from homeserver.protocol.identifiers import server_name_of
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

if TYPE_CHECKING:
    from homeserver.services.accounts.accounts import Accounts, User
    from homeserver.services.devices.devices import Device, Devices


class SuspendBody(msgspec.Struct):
    suspended: bool


class LockBody(msgspec.Struct):
    locked: bool


class AdminApi:
    def __init__(self, server_name: str, accounts: Accounts, devices: Devices) -> None:
        self._server_name = server_name
        self._accounts = accounts
        self._devices = devices

    @endpoint("GET", v3("/admin/whois/{userId}"), operation="getWhoIs")
    async def get_who_is(self, request: Request, requester: Requester) -> JsonValue:
        user_id = request.path["userId"]
        if user_id != requester.user_id and not requester.is_admin:
            raise forbidden("Only administrators of this server may do this.")
        if await self._accounts.find(user_id) is None:
            raise not_found("There is no such account.")
        devices = {device.device_id: _sessions_of(device) for device in await self._devices.list_of(user_id)}
        return {"user_id": user_id, "devices": devices}

    @endpoint("GET", v1("/admin/suspend/{userId}"), auth=Auth.ADMIN, operation="getAdminSuspendUser")
    async def get_suspended(self, request: Request, requester: Requester) -> JsonValue:
        return {"suspended": (await self._target(request)).suspended}

    @endpoint("PUT", v1("/admin/suspend/{userId}"), auth=Auth.ADMIN, operation="setAdminSuspendUser", body=SuspendBody)
    async def set_suspended(self, request: Request, requester: Requester, body: SuspendBody) -> JsonValue:
        await self._accounts.set_suspended((await self._target(request)).user_id, body.suspended)
        return {"suspended": body.suspended}

    @endpoint("GET", v1("/admin/lock/{userId}"), auth=Auth.ADMIN, operation="getAdminLockUser")
    async def get_locked(self, request: Request, requester: Requester) -> JsonValue:
        return {"locked": (await self._target(request)).locked}

    @endpoint("PUT", v1("/admin/lock/{userId}"), auth=Auth.ADMIN, operation="setAdminLockUser", body=LockBody)
    async def set_locked(self, request: Request, requester: Requester, body: LockBody) -> JsonValue:
        await self._accounts.set_locked((await self._target(request)).user_id, body.locked)
        return {"locked": body.locked}

    async def _target(self, request: Request) -> User:
        """The account to moderate: a local one, active, and not an administrator's (so never the requester's own)."""
        user_id = request.path["userId"]
        if server_name_of(user_id) != self._server_name:
            raise invalid_param("This user does not belong to this server.")
        user = await self._accounts.get_active(user_id)
        if user.admin:
            raise forbidden("This account is an administrator's.")
        return user


def _sessions_of(device: Device) -> JsonValue:
    connection: dict[str, JsonValue] = {}
    if device.last_seen_ip is not None:
        connection["ip"] = device.last_seen_ip
    if device.last_seen_ms is not None:
        connection["last_seen"] = device.last_seen_ms
    if device.user_agent:
        connection["user_agent"] = device.user_agent
    return {"sessions": [{"connections": [connection] if connection else []}]}
