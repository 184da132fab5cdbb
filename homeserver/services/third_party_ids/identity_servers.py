"""Requests to identity servers, on behalf of users who name one: bind, unbind, look up, store an invite.

Only servers the settings allow, only by HTTPS, never into private networks, never for long.

Spec: identity-service-api #establishing-associations
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from homeserver.protocol.base64 import encode_base64
from homeserver.protocol.errors import MatrixError, invalid_param
from homeserver.protocol.identifiers import is_server_name, is_user_id
from homeserver.protocol.signing import signable_bytes
from homeserver.protocol.third_party_ids import is_opaque_text
from homeserver.runtime.http_client import HttpResponse, RemoteFailure

if TYPE_CHECKING:
    from homeserver.protocol.signing import SigningKey
    from homeserver.runtime.http_client import HttpClient
    from homeserver_config.sections.identity_servers import IdentityServerSettings

_V2 = "/_matrix/identity/v2"
_MOST_BYTES = 65_536
_CANNOT_UNBIND = frozenset({400, 404, 501})


@dataclass(frozen=True, slots=True)
class StoredInvite:
    """What an identity server gives for an invite to an address nobody has yet: the event's state key and content."""

    token: str
    content: dict[str, Any]


class IdentityServers:
    """The requests. Methods raise M_SERVER_NOT_TRUSTED, the identity server's own errors, and M_UNKNOWN (502)."""

    def __init__(
        self, settings: IdentityServerSettings, http: HttpClient, server_name: str, signing_key: SigningKey
    ) -> None:
        self._settings = settings
        self._http = http
        self._server_name = server_name
        self._signing_key = signing_key

    def check(self, id_server: str) -> None:
        """M_SERVER_NOT_TRUSTED unless this identity server may be used."""
        settings = self._settings
        if not is_server_name(id_server):
            raise invalid_param("`id_server` must be a server name.")
        allowed = not settings.allowed or any(pattern.matches(id_server) for pattern in settings.allowed)
        if not settings.enabled or not allowed:
            raise MatrixError("M_SERVER_NOT_TRUSTED", "This server does not use this identity server.", 403)

    async def bind(
        self, id_server: str, access_token: str, sid: str, client_secret: str, user_id: str
    ) -> tuple[str, str]:
        """Publish an address of a user; its medium and the address."""
        body = {"sid": sid, "client_secret": client_secret, "mxid": user_id}
        found = await self._ask("POST", id_server, "/3pid/bind", access_token, body)
        medium, address = found.get("medium"), found.get("address")
        if not isinstance(medium, str) or not isinstance(address, str):
            raise _useless()
        return medium, address

    async def unbind(self, id_server: str, user_id: str, medium: str, address: str) -> bool:
        """Take back an address, signed by this server; False if the identity server cannot do that."""
        self.check(id_server)
        path = f"{_V2}/3pid/unbind"
        body = {"mxid": user_id, "threepid": {"medium": medium, "address": address}}
        answer = await self._send("POST", id_server, path, self._signature("POST", path, id_server, body), body)
        if answer.status == 200:
            return True
        error = _matrix_error(answer)
        if error is not None:
            raise error
        if answer.status in _CANNOT_UNBIND:
            return False
        raise _useless()

    async def find_user(self, id_server: str, access_token: str, medium: str, address: str) -> str | None:
        """The user who has published an address, asked by its hash. Spec: identity-service-api #association-lookup"""
        details = await self._ask("GET", id_server, "/hash_details", access_token)
        pepper, algorithms = details.get("lookup_pepper"), details.get("algorithms")
        if not isinstance(pepper, str) or not isinstance(algorithms, list) or "sha256" not in algorithms:
            raise _useless()
        hashed = hashlib.sha256(f"{address} {medium} {pepper}".encode()).digest()
        wanted = encode_base64(hashed).replace("+", "-").replace("/", "_")
        body = {"addresses": [wanted], "algorithm": "sha256", "pepper": pepper}
        found = await self._ask("POST", id_server, "/lookup", access_token, body)
        mappings = found.get("mappings")
        user_id = mappings.get(wanted) if isinstance(mappings, dict) else None
        return user_id if isinstance(user_id, str) and is_user_id(user_id) else None

    async def store_invite(self, id_server: str, access_token: str, invite: Mapping[str, Any]) -> StoredInvite:
        """Leave an invite with an identity server, which writes to the address."""
        found = await self._ask("POST", id_server, "/store-invite", access_token, invite)
        token, name = found.get("token"), found.get("display_name")
        keys = [key for key in map(_public_key, _list(found.get("public_keys"))) if key is not None]
        if not isinstance(token, str) or not is_opaque_text(token) or not isinstance(name, str) or not keys:
            raise _useless()
        first = keys[0]
        return StoredInvite(token, {"display_name": name, **first, "public_keys": keys})

    async def _ask(
        self, method: str, id_server: str, path: str, access_token: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        self.check(id_server)
        answer = await self._send(method, id_server, _V2 + path, f"Bearer {access_token}", body)
        error = _matrix_error(answer)
        if error is not None:
            raise error
        found = _json(answer)
        if answer.status != 200 or not isinstance(found, dict):
            raise _useless()
        return found

    async def _send(
        self, method: str, id_server: str, path: str, authorization: str, body: Mapping[str, Any] | None
    ) -> HttpResponse:
        if any(character in authorization for character in "\r\n"):
            raise invalid_param("`id_access_token` cannot be an access token.")
        scheme = "http" if self._settings.allow_http else "https"
        try:
            return await self._http.request(
                method,
                f"{scheme}://{id_server}{path}",
                json=body,
                headers={"Authorization": authorization},
                timeout_s=self._settings.timeout.seconds,
                max_bytes=_MOST_BYTES,
            )
        except RemoteFailure:
            raise MatrixError("M_UNKNOWN", "The identity server cannot be reached.", 502) from None

    def _signature(self, method: str, path: str, id_server: str, body: Mapping[str, Any]) -> str:
        """Spec: server-server-api #request-authentication"""
        origin, key = self._server_name, self._signing_key
        signed = {"method": method, "uri": path, "origin": origin, "destination": id_server, "content": body}
        signature = encode_base64(key.sign(signable_bytes(signed)))
        return f'X-Matrix origin="{origin}",destination="{id_server}",key="{key.key_id}",sig="{signature}"'


def _json(answer: HttpResponse) -> Any:
    try:
        return orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return None


def _matrix_error(answer: HttpResponse) -> MatrixError | None:
    """The identity server's own error, to be handed on as the specification asks."""
    found = _json(answer)
    if answer.status < 400 or not isinstance(found, dict) or not isinstance(found.get("errcode"), str):
        return None
    # 401 and 429 would be taken for this server's own word about the client's session.
    status = answer.status if answer.status in (400, 403, 404) else 502 if answer.status >= 500 else 403
    sentence = found.get("error")
    return MatrixError(
        found["errcode"], sentence if isinstance(sentence, str) else "The identity server refuses.", status
    )


def _public_key(given: object) -> dict[str, str] | None:
    if not isinstance(given, dict):
        return None
    key, url = given.get("public_key"), given.get("key_validity_url")
    return {"public_key": key, "key_validity_url": url} if isinstance(key, str) and isinstance(url, str) else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _useless() -> MatrixError:
    return MatrixError("M_UNKNOWN", "The identity server gave an answer that is of no use.", 502)
