"""`/profile`: what users show of themselves.

Spec: client-server-api #profiles
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homeserver.client_api.paths import v3
from homeserver.protocol.errors import JsonValue, MatrixError, forbidden
from homeserver.protocol.identifiers import check_user_id
from homeserver.services.accounts.tokens import check_not_suspended
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

if TYPE_CHECKING:
    from homeserver.services.profiles import Profiles

_FIELD = [*v3("/profile/{userId}/{keyName}"), "/_matrix/client/unstable/uk.tcpip.msc4133/profile/{userId}/{keyName}"]


class ProfileApi:
    """`needs_login`: whether only users of this server may look at profiles."""

    def __init__(self, profiles: Profiles, *, needs_login: bool = False) -> None:
        self._profiles = profiles
        self._needs_login = needs_login

    @endpoint("GET", v3("/profile/{userId}"), auth=Auth.OPTIONAL, operation="getUserProfile")
    async def get_user_profile(self, request: Request, requester: Requester | None) -> JsonValue:
        self._check_may_look(requester)
        return await self._profiles.fetch(check_user_id(request.path["userId"]))

    @endpoint("GET", _FIELD, auth=Auth.OPTIONAL, operation="getProfileField")
    async def get_profile_field(self, request: Request, requester: Requester | None) -> JsonValue:
        self._check_may_look(requester)
        return await self._profiles.fetch_field(check_user_id(request.path["userId"]), request.path["keyName"])

    @endpoint("PUT", _FIELD, auth=Auth.GUEST_OK, operation="setProfileField", limit="profile", body=dict)
    async def set_profile_field(self, request: Request, requester: Requester, body: dict[str, Any]) -> JsonValue:
        user_id, key = _own_field(request, requester)
        await self._profiles.set_field(user_id, key, body)
        return {}

    @endpoint("DELETE", _FIELD, auth=Auth.GUEST_OK, operation="deleteProfileField", limit="profile")
    async def delete_profile_field(self, request: Request, requester: Requester) -> JsonValue:
        user_id, key = _own_field(request, requester)
        await self._profiles.delete_field(user_id, key)
        return {}

    def _check_may_look(self, requester: Requester | None) -> None:
        if self._needs_login and requester is None:
            raise forbidden("Profiles are shown to users of this server only.")


def _own_field(request: Request, requester: Requester) -> tuple[str, str]:
    user_id, key = check_user_id(request.path["userId"]), request.path["keyName"]
    if user_id != requester.user_id:
        raise forbidden("You can change your own profile only.")
    check_not_suspended(requester)
    if requester.is_guest and key != "displayname":
        raise MatrixError("M_GUEST_ACCESS_FORBIDDEN", "Guests may change their display name only.", 403)
    return user_id, key
