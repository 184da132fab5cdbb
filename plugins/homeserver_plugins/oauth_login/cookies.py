"""What the browser carries while its user is away at the provider: sealed cookies that only this server can read.
Nothing is kept here meanwhile, so that strangers who begin and never come back cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from starlette.responses import Response

from homeserver.plugin_api import Clock, Request

_SEAL = {"alg": "dir", "enc": "A256GCM"}
_ALGORITHMS = ["dir", "A256GCM"]


class SealedCookies:
    """Encrypts and signs small JSON objects into cookies. HTTP-only, and not sent along by other sites' forms."""

    def __init__(self, key: bytes, clock: Clock, path: str, *, secure: bool) -> None:
        self._key = OctKey.import_key(key)
        self._clock = clock
        self._path = path
        self._secure = secure

    def put(self, response: Response, name: str, content: Mapping[str, Any], lifetime_ms: int) -> None:
        sealed = orjson.dumps({**content, "for": name, "until": self._clock.now_ms() + lifetime_ms})
        value = jwe.encrypt_compact(_SEAL, sealed, self._key, algorithms=_ALGORITHMS)
        response.set_cookie(
            name,
            value,
            max_age=lifetime_ms // 1000,
            path=self._path,
            secure=self._secure,
            httponly=True,
            samesite="lax",
        )

    def find(self, request: Request, name: str) -> dict[str, Any] | None:
        """The content, or None if there is none, or it was not made here, or has expired."""
        value = _cookie(request, name)
        if value is None:
            return None
        try:
            opened = jwe.decrypt_compact(value, self._key, algorithms=_ALGORITHMS).plaintext
        except (JoseError, ValueError):
            return None
        content = orjson.loads(opened or b"null")
        if content["for"] != name or content["until"] <= self._clock.now_ms():
            return None
        return dict(content)

    def drop(self, response: Response, name: str) -> None:
        response.delete_cookie(name, path=self._path, secure=self._secure, httponly=True, samesite="lax")


def _cookie(request: Request, name: str) -> str | None:
    for part in (request.header("cookie") or "").split(";"):
        key, separator, value = part.strip().partition("=")
        if separator and key == name:
            return value
    return None
