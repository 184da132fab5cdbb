"""`/register`: opening an account, and asking whether a name is free.

Spec: client-server-api #legacy-account-registration
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from homeserver.client_api.paths import v3
from homeserver.protocol.errors import JsonValue, unrecognized
from homeserver.services.accounts.sessions import ClientDetails, client_details
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.runner import check_body

if TYPE_CHECKING:
    from homeserver.services.accounts.registration import Registration


class _RegisterBody(msgspec.Struct):
    auth: dict[str, Any] | None = None
    username: str | None = None
    password: str | None = None
    device_id: str | None = None
    initial_device_display_name: str | None = None
    inhibit_login: bool | None = None
    refresh_token: bool | None = None
    guest_access_token: str | None = None


class RegistrationApi:
    def __init__(self, registration: Registration) -> None:
        self._registration = registration

    @endpoint("POST", v3("/register"), auth=Auth.NONE, operation="register", limit="login_address", body=dict)
    async def register(self, request: Request, body: dict[str, Any]) -> JsonValue:
        kind = request.query.get("kind", "user")
        if kind == "guest":
            name = body.get("initial_device_display_name")
            display_name = name if isinstance(name, str) else None
            client = ClientDetails(None, display_name, False, request.client_address, request.user_agent)
            return await self._registration.register_guest(client)
        if kind != "user":
            raise unrecognized("There is no such kind of account.", 400)
        check_body(body, _RegisterBody)
        client = client_details(body, request.client_address, request.user_agent)
        return await self._registration.register(body, client, request.access_token)

    @endpoint(
        "GET", v3("/register/available"), auth=Auth.NONE, operation="checkUsernameAvailability", limit="login_address"
    )
    async def check_username_availability(self, request: Request) -> JsonValue:
        await self._registration.check_available(request.query_str("username"))
        return {"available": True}
