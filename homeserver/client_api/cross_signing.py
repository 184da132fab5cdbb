"""`/keys/device_signing` and `/keys/signatures`: cross-signing keys, and what is signed with them.

Spec: client-server-api #cross-signing
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homeserver.client_api.paths import v3
from homeserver.protocol.errors import JsonValue
from homeserver.services.devices.cross_signing import KEY_NAMES
from homeserver.web.endpoint import endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

if TYPE_CHECKING:
    from homeserver.services.accounts.user_interactive_auth import UserInteractiveAuth
    from homeserver.services.devices.cross_signing import CrossSigning

_OPERATION = "upload cross-signing keys"


class CrossSigningApi:
    def __init__(self, cross_signing: CrossSigning, interactive_auth: UserInteractiveAuth) -> None:
        self._cross_signing = cross_signing
        self._interactive_auth = interactive_auth

    @endpoint(
        "POST",
        [*v3("/keys/device_signing/upload"), "/_matrix/client/unstable/keys/device_signing/upload"],
        operation="uploadCrossSigningKeys",
        limit="key_upload",
        body=dict,
    )
    async def upload_cross_signing_keys(
        self, request: Request, requester: Requester, body: dict[str, Any]
    ) -> JsonValue:
        user_id, auth = requester.user_id, body.get("auth")
        keys = {name: body[name] for name in KEY_NAMES if body.get(name) is not None}
        is_continued = isinstance(auth, dict) and "session" in auth and not keys
        needs_none = requester.appservice_id is not None
        if not is_continued and await self._cross_signing.upload(user_id, keys, confirmed=needs_none):
            return {}
        authorised = await self._interactive_auth.authorise_account(
            _OPERATION, user_id, auth, keys, request.client_address, fixed=tuple(KEY_NAMES)
        )
        await self._cross_signing.upload(user_id, authorised.body, confirmed=True)
        return {}

    @endpoint(
        "POST",
        [*v3("/keys/signatures/upload"), "/_matrix/client/unstable/keys/signatures/upload"],
        operation="uploadCrossSigningSignatures",
        limit="key_upload",
        body=dict,
    )
    async def upload_cross_signing_signatures(
        self, request: Request, requester: Requester, body: dict[str, Any]
    ) -> JsonValue:
        return {"failures": await self._cross_signing.upload_signatures(requester.user_id, body)}
