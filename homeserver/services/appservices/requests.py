"""Asks application services over HTTP: today's paths, and the older ones of services that know no others.

Their addresses come from the operator, so that private networks are in bounds.

Spec: application-service-api #homeserver---application-service-api
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import orjson

from homeserver.runtime.http_client import HttpResponse, RemoteFailure

if TYPE_CHECKING:
    from homeserver.runtime.http_client import HttpClient
    from homeserver.services.appservices.appservice import Appservice

_MOST_BYTES = 4 * 1024 * 1024
_V1 = "/_matrix/app/v1"
_UNSTABLE = "/_matrix/app/unstable"
_UNKNOWN_PATH = frozenset({404, 405, 501})


class AppserviceRequests:
    """The requests that all parts share."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    async def ask(
        self,
        appservice: Appservice,
        method: str,
        path: str,
        *,
        json: Any = None,
        body: bytes | None = None,
        query: Mapping[str, str] | None = None,
        timeout_s: float,
    ) -> HttpResponse:
        """Ask for a path below `/_matrix/app/v1`; the answer, of whatever status. Raises RemoteFailure without one."""
        answer = await self._send(appservice, method, _V1 + path, json, body, query or {}, timeout_s)
        legacy = _legacy_path(path)
        if legacy is None or not _does_not_know_path(answer):
            return answer
        # Services from before the specification read the token from the query.
        old_query = {**(query or {}), "access_token": appservice.hs_token}
        older = await self._send(appservice, method, legacy, json, body, old_query, timeout_s)
        return answer if _does_not_know_path(older) else older

    async def _send(
        self,
        appservice: Appservice,
        method: str,
        path: str,
        json: Any,
        body: bytes | None,
        query: Mapping[str, str],
        timeout_s: float,
    ) -> HttpResponse:
        if appservice.url is None:
            raise RemoteFailure("the application service has no URL")
        headers = {"Authorization": f"Bearer {appservice.hs_token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        url = appservice.url + path + (f"?{urlencode(query)}" if query else "")
        return await self._http.request(
            method, url, json=json, body=body, headers=headers, timeout_s=timeout_s, max_bytes=_MOST_BYTES
        )


def _legacy_path(path: str) -> str | None:
    if path == "/ping":
        return None
    return _UNSTABLE + path if path.startswith("/thirdparty/") else path


def _does_not_know_path(answer: HttpResponse) -> bool:
    """A 404 with an error code of its own says that what was asked for is not there, not that the path is unknown."""
    if answer.status not in _UNKNOWN_PATH:
        return False
    try:
        told = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return True
    errcode = told.get("errcode") if isinstance(told, dict) else None
    return not isinstance(errcode, str) or errcode == "M_UNRECOGNIZED"
