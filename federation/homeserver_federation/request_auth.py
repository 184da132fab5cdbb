"""Checks who sent a request: the signature of another server over method, target, names and body.

Spec: server-server-api #request-authentication
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from homeserver.protocol.canonical_json import CanonicalJsonError, decode_json
from homeserver.protocol.errors import MatrixError, forbidden, not_json
from homeserver.protocol.identifiers import is_server_name
from homeserver_federation.x_matrix import NO_CONTENT, XMatrix, is_signed_by, parse_authorization

if TYPE_CHECKING:
    from homeserver.protocol.signing import VerifyKey
    from homeserver.web.request import Request
    from homeserver_config.sections.federation import FederationSettings
    from homeserver_federation.back_off import BackOff
    from homeserver_federation.key_ring import KeyRing

_MOST_HEADERS = 5


class RequestAuthenticator:
    """The `ServerAuthenticator` of the HTTP side. `server_name` is ours: who asks another server is not answered."""

    def __init__(self, server_name: str, key_ring: KeyRing, settings: FederationSettings, back_off: BackOff) -> None:
        self._server_name = server_name
        self._key_ring = key_ring
        self._settings = settings
        self._back_off = back_off

    async def authenticate(self, request: Request, body: bytes) -> str:
        """The name of the server that signed the request. M_UNAUTHORIZED, M_FORBIDDEN, M_NOT_JSON."""
        headers = _headers_of(request)
        if not headers:
            raise _unauthorized("The request is not signed: it has no usable X-Matrix authorization.")
        origin = headers[0].origin
        for header in headers:
            self._check(header, origin)
        if not self._settings.may_talk_to(origin):
            raise forbidden(f"This server does not talk to {origin}.")
        for header in headers:
            key = await self._key_ring.find_current_key(origin, header.key_id)
            if key is not None and self._is_signed(header, key, request, body):
                await self._back_off.heard_from(origin)
                return origin
        raise _unauthorized(f"The signature is not one of {origin}, or its key cannot be had.")

    def _check(self, header: XMatrix, origin: str) -> None:
        if header.origin != origin or not is_server_name(origin):
            raise _unauthorized("The origin is not the name of a server.")
        if origin == self._server_name:
            raise _unauthorized("This server does not send itself requests.")
        if header.destination is not None and header.destination != self._server_name:
            raise _unauthorized(f"The request is meant for another server than {self._server_name}.")

    def _is_signed(self, header: XMatrix, key: VerifyKey, request: Request, body: bytes) -> bool:
        if not body:
            return self._covers(header, key, request, NO_CONTENT)
        try:
            if self._covers(header, key, request, orjson.loads(body)):
                return True
            # PDUs of old rooms may hold integers too big for the fast parser.
            return self._covers(header, key, request, decode_json(body, exact_numbers=True))
        except ValueError:
            raise not_json("The request body is not JSON.") from None

    def _covers(self, header: XMatrix, key: VerifyKey, request: Request, content: Any) -> bool:
        try:
            return is_signed_by(header, key, request.method, request.target, self._server_name, content)
        except CanonicalJsonError:
            return False


def _headers_of(request: Request) -> list[XMatrix]:
    """All X-Matrix headers: a server with two keys may send one for each."""
    values = [bytes(value).decode("latin-1") for name, value in request.scope["headers"] if name == b"authorization"]
    parsed = [parse_authorization(value) for value in values[:_MOST_HEADERS]]
    return [header for header in parsed if header is not None]


def _unauthorized(sentence: str) -> MatrixError:
    return MatrixError("M_UNAUTHORIZED", sentence, 401)
