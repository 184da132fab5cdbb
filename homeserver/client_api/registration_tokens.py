"""Whether a registration token would be accepted.

Spec: client-server-api #token-authenticated-registration
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from homeserver.client_api.paths import v1
from homeserver.protocol.errors import JsonValue
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request

if TYPE_CHECKING:
    from homeserver.services.accounts.registration import Registration


class RegistrationTokensApi:
    def __init__(self, registration: Registration) -> None:
        self._registration = registration

    @endpoint(
        "GET",
        v1("/register/m.login.registration_token/validity"),
        auth=Auth.NONE,
        operation="registrationTokenValidity",
        limit="registration_token",
    )
    async def registration_token_validity(self, request: Request) -> JsonValue:
        return {"valid": await self._registration.is_token_valid(request.query_str("token"))}
