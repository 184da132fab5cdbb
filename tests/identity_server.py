"""An identity server on loopback that speaks version 2 of the protocol: association, look-up, stored invites.

It checks what it is asked as the specification demands, and signs with a key of its own.

Spec: identity-service-api
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from plugin_kit import loopback

from homeserver.protocol.base64 import encode_base64
from homeserver.protocol.signing import SigningKey, VerifyKey, is_valid_signature, sign_json, signable_bytes

V2 = "/_matrix/identity/v2"
TOKEN = "identity-token"
PEPPER = "matrixrocks"
_X_MATRIX = re.compile(r'X-Matrix origin="(.+?)",destination="(.+?)",key="(.+?)",sig="(.+?)"')


@dataclass
class IdentityServer:
    """`validated` are sessions whose address is confirmed; `bound` says whose an address is."""

    name: str = ""
    validated: dict[str, str] = field(default_factory=dict)
    bound: dict[str, str] = field(default_factory=dict)
    invites: list[dict[str, Any]] = field(default_factory=list)
    homeserver_key: VerifyKey | None = None
    can_unbind: bool = True
    key: SigningKey = field(default_factory=lambda: SigningKey("0", b"i" * 32))

    async def bind(self, request: web.Request) -> web.Response:
        body = await self._body_of(request)
        address = self.validated.get(body["sid"])
        if address is None:
            return _error(400, "M_SESSION_NOT_VALIDATED")
        self.bound[address] = body["mxid"]
        return web.json_response({"medium": "email", "address": address, "mxid": body["mxid"]})

    async def unbind(self, request: web.Request) -> web.Response:
        if not self.can_unbind:
            return web.Response(status=501, text="what?")
        body = await request.json()
        match = _X_MATRIX.fullmatch(request.headers["Authorization"])
        assert match is not None
        origin, destination, _, signature = match.groups()
        signed = {
            "method": "POST",
            "uri": request.path_qs,
            "origin": origin,
            "destination": destination,
            "content": body,
        }
        assert self.homeserver_key is not None
        if not is_valid_signature(signable_bytes(signed), signature, self.homeserver_key):
            return _error(403, "M_FORBIDDEN")
        assert body["mxid"].endswith(f":{origin}")
        if self.bound.pop(body["threepid"]["address"], None) != body["mxid"]:
            return _error(404, "M_NOT_FOUND")
        return web.json_response({})

    async def hash_details(self, request: web.Request) -> web.Response:
        await self._body_of(request)
        return web.json_response({"lookup_pepper": PEPPER, "algorithms": ["none", "sha256"]})

    async def lookup(self, request: web.Request) -> web.Response:
        body = await self._body_of(request)
        assert (body["algorithm"], body["pepper"]) == ("sha256", PEPPER)
        known = {_hashed(address): user_id for address, user_id in self.bound.items()}
        return web.json_response({"mappings": {one: known[one] for one in body["addresses"] if one in known}})

    async def store_invite(self, request: web.Request) -> web.Response:
        self.invites.append(await self._body_of(request))
        url = f"http://{self.name}{V2}/pubkey/isvalid"
        return web.json_response(
            {
                "token": f"token{len(self.invites)}",
                "display_name": "a...@e...",
                "public_keys": [{"public_key": self.key.verify_key_base64, "key_validity_url": url}],
            }
        )

    def onbind(self, user_id: str) -> dict[str, Any]:
        """What the homeserver of somebody is told when they publish an address that was invited before."""
        invites = []
        for number, invite in enumerate(self.invites, 1):
            signed = sign_json({"mxid": user_id, "token": f"token{number}"}, self.name, self.key)
            told = {key: invite[key] for key in ("medium", "address", "room_id", "sender")}
            invites.append({**told, "mxid": user_id, "signed": signed})
        return {"medium": "email", "address": invites[0]["address"], "mxid": user_id, "invites": invites}

    async def _body_of(self, request: web.Request) -> Any:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise web.HTTPUnauthorized(text='{"errcode": "M_UNAUTHORIZED", "error": "Who are you?"}')
        return await request.json() if request.method == "POST" else None


@asynccontextmanager
async def identity_server() -> AsyncIterator[IdentityServer]:
    made = IdentityServer()
    handlers = {
        ("POST", f"{V2}/3pid/bind"): made.bind,
        ("POST", f"{V2}/3pid/unbind"): made.unbind,
        ("GET", f"{V2}/hash_details"): made.hash_details,
        ("POST", f"{V2}/lookup"): made.lookup,
        ("POST", f"{V2}/store-invite"): made.store_invite,
    }
    async with loopback(handlers) as url:
        made.name = url.removeprefix("http://")
        yield made


def _hashed(address: str) -> str:
    digest = hashlib.sha256(f"{address} email {PEPPER}".encode()).digest()
    return encode_base64(digest).replace("+", "-").replace("/", "_")


def _error(status: int, errcode: str) -> web.Response:
    return web.json_response({"errcode": errcode, "error": errcode}, status=status)
