"""`/_synapse/admin/v1/register`: accounts for whoever knows the shared secret, as existing admin tools ask for them.

The path is the one those tools know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from homeserver.protocol.errors import JsonValue
from homeserver.services.accounts.sessions import ClientDetails
from homeserver.services.accounts.shared_secret import SharedSecretRequest
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request

if TYPE_CHECKING:
    from homeserver.services.accounts.shared_secret import SharedSecretRegistration

_PATH = "/_synapse/admin/v1/register"


class AdminRegisterBody(msgspec.Struct):
    nonce: str
    username: str
    password: str
    mac: str
    admin: bool = False
    user_type: str | None = None
    displayname: str | None = None


class AdminRegisterApi:
    def __init__(self, registration: SharedSecretRegistration) -> None:
        self._registration = registration

    @endpoint("GET", _PATH, auth=Auth.NONE, limit="login_address")
    async def get_nonce(self, request: Request) -> JsonValue:
        return {"nonce": self._registration.issue_nonce()}

    @endpoint("POST", _PATH, auth=Auth.NONE, limit="login_address", body=AdminRegisterBody)
    async def register(self, request: Request, body: AdminRegisterBody) -> JsonValue:
        wanted = SharedSecretRequest(**msgspec.structs.asdict(body))
        client = ClientDetails(address=request.client_address, user_agent=request.user_agent)
        return (await self._registration.register(wanted, client)).as_json()
