"""`/keys/device_signing` and `/keys/signatures`: cross-signing keys, and what is signed with them.

Spec: client-server-api #cross-signing
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homeserver.client_api.paths import v3
from homeserver.protocol.errors import JsonValue
from homeserver.services.devices.cross_signing import KEY_NAMES
from homeserver.services.oauth_provider.oauth_stage import FLOWS, OAUTH
from homeserver.web.endpoint import endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

if TYPE_CHECKING:
    from homeserver.services.accounts.user_interactive_auth import UserInteractiveAuth
    from homeserver.services.devices.cross_signing import CrossSigning
    from homeserver.services.oauth_provider.browser_sessions import Approvals

_OPERATION = "upload cross-signing keys"


class CrossSigningApi:
    """`approvals` None: there are no sessions of the OAuth 2.0 API."""

    def __init__(
        self,
        cross_signing: CrossSigning,
        interactive_auth: UserInteractiveAuth,
        approvals: Approvals | None = None,
    ) -> None:
        self._cross_signing = cross_signing
        self._interactive_auth = interactive_auth
        self._approvals = approvals

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
        if self._approvals is not None and await self._approvals.find_grant(requester) is not None:
            await self._upload_approved(self._approvals, request, user_id, auth, keys)
            return {}
        authorised = await self._interactive_auth.authorise_account(
            _OPERATION, user_id, auth, keys, request.client_address, fixed=tuple(KEY_NAMES)
        )
        await self._cross_signing.upload(user_id, authorised.body, confirmed=True)
        return {}

    async def _upload_approved(
        self, approvals: Approvals, request: Request, user_id: str, auth: Any, keys: dict[str, Any]
    ) -> None:
        """Replace keys as the user has approved on the account page, or send the client there.

        Spec: client-server-api #oauth-authentication
        """
        if isinstance(auth, dict) and "session" in auth:
            # The client comes back with nothing but the session.
            auth = {"type": OAUTH, **auth}
        elif keys and await approvals.is_approved(user_id):
            # Clients of the unstable name just try again.
            await self._cross_signing.upload(user_id, keys, confirmed=True)
            await approvals.use(user_id)
            return
        authorised = await self._interactive_auth.authorise(
            _OPERATION, user_id, FLOWS, auth, keys, request.client_address, fixed=tuple(KEY_NAMES)
        )
        await self._cross_signing.upload(user_id, authorised.body, confirmed=True)
        await approvals.use(user_id)

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
