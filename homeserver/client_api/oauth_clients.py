"""What OAuth 2.0 clients ask without a browser: registration, tokens, revocation, device codes.

Spec: client-server-api #client-registration, #grant-types, #token-revocation
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from homeserver.client_api.oauth_browser import LARGEST_FORM, parse_form
from homeserver.protocol.errors import MatrixError, unrecognized
from homeserver.services.oauth_provider.errors import InvalidClientMetadataError, InvalidRequestError, OAuth2Error
from homeserver.services.oauth_provider.server_metadata import PATH
from homeserver.services.oauth_provider.token_endpoint import Caller
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.responses import JsonBytes, json_answer

if TYPE_CHECKING:
    from homeserver.services.oauth_provider.clients import OAuthClients
    from homeserver.services.oauth_provider.device_grants import DeviceGrants
    from homeserver.services.oauth_provider.token_endpoint import TokenEndpoint

_SECRET = ((b"cache-control", b"no-store"), (b"pragma", b"no-cache"))
_LARGEST_METADATA = 65_536

Answer = Callable[[Mapping[str, str]], Awaitable[Any]]


class OAuthClientsApi:
    """`device_grants` None: clients without a browser cannot log in."""

    def __init__(
        self, clients: OAuthClients, token_endpoint: TokenEndpoint, device_grants: DeviceGrants | None
    ) -> None:
        self._clients = clients
        self._token_endpoint = token_endpoint
        self._device_grants = device_grants

    @endpoint(
        "POST",
        f"{PATH}/register",
        auth=Auth.NONE,
        limit="oauth_client",
        body=bytes,
        max_body_bytes=_LARGEST_METADATA,
    )
    async def register(self, request: Request, body: bytes) -> JsonBytes:
        try:
            metadata = orjson.loads(body)
        except orjson.JSONDecodeError:
            metadata = None
        try:
            if not isinstance(metadata, dict):
                raise InvalidClientMetadataError("The request body must be a JSON object.")
            return json_answer(await self._clients.register(metadata, request.client_address), 201, _SECRET)
        except OAuth2Error as error:
            return _refusal(error)

    @endpoint("POST", f"{PATH}/token", auth=Auth.NONE, limit="oauth_token", body=bytes, max_body_bytes=LARGEST_FORM)
    async def token(self, request: Request, body: bytes) -> JsonBytes:
        caller = Caller(request.client_address, request.user_agent)
        return await _answer(request, body, lambda form: self._token_endpoint.exchange(form, caller))

    @endpoint("POST", f"{PATH}/revoke", auth=Auth.NONE, limit="oauth_token", body=bytes, max_body_bytes=LARGEST_FORM)
    async def revoke(self, request: Request, body: bytes) -> JsonBytes:
        caller = Caller(request.client_address, request.user_agent)
        return await _answer(request, body, lambda form: self._token_endpoint.revoke(form, caller))

    @endpoint("POST", f"{PATH}/device", auth=Auth.NONE, limit="oauth_client", body=bytes, max_body_bytes=LARGEST_FORM)
    async def authorize_device(self, request: Request, body: bytes) -> JsonBytes:
        device_grants = self._device_grants
        if device_grants is None:
            raise unrecognized("This server has no device authorization grant.")
        return await _answer(request, body, lambda form: device_grants.begin(form, request.client_address))


async def _answer(request: Request, body: bytes, answer: Answer) -> JsonBytes:
    try:
        try:
            form = parse_form(request, body)
        except MatrixError as mistake:
            raise InvalidRequestError(mistake.sentence) from None
        return json_answer(await answer(form) or {}, headers=_SECRET)
    except OAuth2Error as error:
        return _refusal(error)


def _refusal(error: OAuth2Error) -> JsonBytes:
    """Spec: RFC 6749 #section-5.2"""
    return json_answer(dict(error.get_body()), int(error.status_code), _SECRET)
