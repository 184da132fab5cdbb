"""`/capabilities`: what this server lets this user do.

Spec: client-server-api #capabilities-negotiation
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from homeserver.client_api.paths import v3
from homeserver.protocol.errors import JsonValue
from homeserver.protocol.room_versions import DEFAULT_ROOM_VERSION, ROOM_VERSIONS
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the settings and the installed parts allow. `more` holds capabilities of other parts and plugins."""

    change_password: bool = True
    get_login_token: bool = False
    third_party_ids: bool = False
    forget_on_leave: bool = False
    default_room_version: str = DEFAULT_ROOM_VERSION
    managed_profile_fields: Sequence[str] = ()
    more: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class CapabilitiesApi:
    def __init__(self, capabilities: Capabilities) -> None:
        self._capabilities = _rendered(capabilities)

    @endpoint("GET", v3("/capabilities"), auth=Auth.GUEST_OK, operation="getCapabilities")
    async def get_capabilities(self, request: Request, requester: Requester) -> JsonValue:
        capabilities = dict(self._capabilities)
        if requester.is_admin:
            capabilities["m.account_moderation"] = {"suspend": True, "lock": True}
        return {"capabilities": capabilities}


def _rendered(capabilities: Capabilities) -> dict[str, Any]:
    managed = list(capabilities.managed_profile_fields)
    profile_fields: dict[str, Any] = {"enabled": True}
    if managed:
        profile_fields["disallowed"] = managed
    return {
        "m.change_password": {"enabled": capabilities.change_password},
        "m.forget_forced_upon_leave": {"enabled": capabilities.forget_on_leave},
        "m.room_versions": {
            "default": capabilities.default_room_version,
            "available": dict.fromkeys(ROOM_VERSIONS, "stable"),
        },
        "m.set_displayname": {"enabled": "displayname" not in managed},
        "m.set_avatar_url": {"enabled": "avatar_url" not in managed},
        "m.3pid_changes": {"enabled": capabilities.third_party_ids},
        "m.get_login_token": {"enabled": capabilities.get_login_token},
        "m.profile_fields": profile_fields,
        # The name clients know from before the field was specified.
        "uk.tcpip.msc4133.profile_fields": profile_fields,
        **capabilities.more,
    }
