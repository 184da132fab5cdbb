"""`/logout`: ending this session, or all sessions.

Spec: client-server-api #legacy-login
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from homeserver.client_api.paths import v3
from homeserver.protocol.errors import JsonValue
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

if TYPE_CHECKING:
    from homeserver.services.accounts.sessions import Sessions


class LogoutApi:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @endpoint("POST", v3("/logout"), auth=Auth.GUEST_OK, operation="logout")
    async def logout(self, request: Request, requester: Requester) -> JsonValue:
        await self._sessions.logout(requester)
        return {}

    @endpoint("POST", v3("/logout/all"), auth=Auth.GUEST_OK, operation="logout_all")
    async def logout_all(self, request: Request, requester: Requester) -> JsonValue:
        await self._sessions.logout_all(requester.user_id)
        return {}
