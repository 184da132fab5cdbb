"""`/keys`: uploads, queries and claims of device keys.

Spec: client-server-api #key-management-api
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from homeserver.client_api.paths import v3
from homeserver.protocol.errors import JsonValue, invalid_param
from homeserver.services.devices.device_keys import KeyUpload
from homeserver.services.tokens import parse_sync_token
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

if TYPE_CHECKING:
    from homeserver.services.devices.device_keys import DeviceKeys

_DEFAULT_TIMEOUT_MS = 10_000


class _UploadBody(msgspec.Struct):
    device_keys: dict[str, Any] | None = None
    one_time_keys: dict[str, Any] | None = None
    fallback_keys: dict[str, Any] | None = None


class _QueryBody(msgspec.Struct):
    device_keys: dict[str, list[str]]
    timeout: int = _DEFAULT_TIMEOUT_MS


class _ClaimBody(msgspec.Struct):
    one_time_keys: dict[str, dict[str, str]]
    timeout: int = _DEFAULT_TIMEOUT_MS


class KeysApi:
    def __init__(self, keys: DeviceKeys) -> None:
        self._keys = keys

    @endpoint(
        "POST", v3("/keys/upload"), auth=Auth.GUEST_OK, operation="uploadKeys", limit="key_upload", body=_UploadBody
    )
    async def upload_keys(self, request: Request, requester: Requester, body: _UploadBody) -> JsonValue:
        upload = KeyUpload(body.device_keys, body.one_time_keys, body.fallback_keys)
        return {"one_time_key_counts": await self._keys.upload(requester.user_id, requester.device_id, upload)}

    # Clients of the first drafts name their device in the path.
    @endpoint(
        "POST",
        v3("/keys/upload/{deviceId}"),
        auth=Auth.GUEST_OK,
        operation="uploadKeys",
        limit="key_upload",
        body=_UploadBody,
    )
    async def upload_keys_of_device(self, request: Request, requester: Requester, body: _UploadBody) -> JsonValue:
        if requester.device_id is not None and request.path["deviceId"] != requester.device_id:
            raise invalid_param("A device can upload only its own keys.")
        return await self.upload_keys(request, requester, body)

    @endpoint("POST", v3("/keys/query"), auth=Auth.GUEST_OK, operation="queryKeys", limit="key_query", body=_QueryBody)
    async def query_keys(self, request: Request, requester: Requester, body: _QueryBody) -> JsonValue:
        found, failures = await self._keys.query(requester.user_id, body.device_keys, body.timeout)
        return {
            "device_keys": found.device_keys,
            "master_keys": found.master_keys,
            "self_signing_keys": found.self_signing_keys,
            "user_signing_keys": found.user_signing_keys,
            "failures": failures,
        }

    @endpoint("POST", v3("/keys/claim"), auth=Auth.GUEST_OK, operation="claimKeys", limit="key_query", body=_ClaimBody)
    async def claim_keys(self, request: Request, requester: Requester, body: _ClaimBody) -> JsonValue:
        keys, failures = await self._keys.claim(body.one_time_keys, body.timeout)
        return {"one_time_keys": keys, "failures": failures}

    @endpoint("GET", v3("/keys/changes"), operation="getKeysChanges", limit="key_query")
    async def get_keys_changes(self, request: Request, requester: Requester) -> JsonValue:
        after = parse_sync_token(request.query_str("from"))
        # Only a hint: changes after it are told as well, which does no harm.
        parse_sync_token(request.query_str("to"))
        changed, left = await self._keys.changes(requester.user_id, after.position)
        return {"changed": sorted(changed), "left": sorted(left)}
