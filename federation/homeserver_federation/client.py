"""Requests to other servers: signed, bounded in time, size and number, and never to a server that is left alone.

Spec: server-server-api #request-authentication
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote, urlencode

import orjson

from homeserver.protocol.canonical_json import encode_canonical_json
from homeserver.runtime.http_client import RemoteFailure, RemoteTimeout, ResponseTooLarge
from homeserver_federation.errors import FederationError, RemoteServerError, ServerNotAllowed, ServerUnreachable
from homeserver_federation.x_matrix import NO_CONTENT, authorization_header

if TYPE_CHECKING:
    from homeserver.protocol.signing import SigningKey
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.http_client import HttpClient, StreamedResponse
    from homeserver_config.sections.federation import FederationSettings
    from homeserver_federation.back_off import BackOff
    from homeserver_federation.server_discovery import Destination, Discovery

Query: TypeAlias = Mapping[str, str | Sequence[str]]

MAX_ANSWER_BYTES = 100 * 1024 * 1024
"""Of requests that do not say otherwise; the state of the largest rooms fits."""

_MOST_AT_ONCE = 12
_MOST_ERROR_BYTES = 65_536
_FIRST_RETRY_PAUSE_S = 0.5


def federation_path(version: str, *segments: str) -> str:
    """A path below /_matrix/federation, each segment percent-encoded."""
    return f"/_matrix/federation/{version}" + "".join("/" + quote(segment, safe="") for segment in segments)


def build_tls_context(settings: FederationSettings) -> ssl.SSLContext:
    """Trusts the machine's certificate authorities and those of `federation.ca_certificates`."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in settings.ca_certificates:
        context.load_verify_locations(cafile=path)
    return context


class FederationClient:
    """All requests to other servers go through here. `http` is a client made with `build_tls_context`.

    Methods raise RemoteServerError when the server answers with an error, ServerUnreachable when there is no answer
    of a Matrix server, and ServerNotAllowed (one of the latter) where the settings forbid it. `path` comes
    percent-encoded (see `federation_path`); `timeout_ms` covers the whole request, attempts and waiting included.
    """

    def __init__(
        self,
        server_name: str,
        signing_key: SigningKey,
        discovery: Discovery,
        http: HttpClient,
        settings: FederationSettings,
        clock: Clock,
        back_off: BackOff,
    ) -> None:
        self.server_name = server_name
        self.back_off = back_off
        self._signing_key = signing_key
        self._discovery = discovery
        self._http = http
        self._settings = settings
        self._clock = clock
        self._slots: dict[str, _Slots] = {}

    async def get(
        self,
        destination: str,
        path: str,
        query: Query | None = None,
        *,
        timeout_ms: int | None = None,
        max_bytes: int = MAX_ANSWER_BYTES,
        attempts: int = 1,
        ignore_back_off: bool = False,
    ) -> Any:
        """The JSON value of an answer 200."""
        return await self._ask(
            "GET",
            destination,
            _target(path, query),
            timeout_ms=timeout_ms,
            max_bytes=max_bytes,
            attempts=attempts,
            ignore_back_off=ignore_back_off,
        )

    async def put(
        self,
        destination: str,
        path: str,
        body: Mapping[str, Any],
        query: Query | None = None,
        *,
        timeout_ms: int | None = None,
        max_bytes: int = MAX_ANSWER_BYTES,
        attempts: int = 1,
        ignore_back_off: bool = False,
    ) -> Any:
        """The JSON value of an answer 200."""
        return await self._ask(
            "PUT",
            destination,
            _target(path, query),
            body,
            timeout_ms=timeout_ms,
            max_bytes=max_bytes,
            attempts=attempts,
            ignore_back_off=ignore_back_off,
        )

    async def post(
        self,
        destination: str,
        path: str,
        body: Mapping[str, Any],
        query: Query | None = None,
        *,
        timeout_ms: int | None = None,
        max_bytes: int = MAX_ANSWER_BYTES,
        ignore_back_off: bool = False,
    ) -> Any:
        """The JSON value of an answer 200. Sent once: what a repetition would do, nobody knows."""
        return await self._ask(
            "POST",
            destination,
            _target(path, query),
            body,
            timeout_ms=timeout_ms,
            max_bytes=max_bytes,
            attempts=1,
            ignore_back_off=ignore_back_off,
        )

    @asynccontextmanager
    async def stream_get(
        self, destination: str, path: str, query: Query | None = None, *, timeout_ms: int, max_bytes: int
    ) -> AsyncIterator[StreamedResponse]:
        """An answer 200 whose body is still to be read; reading raises RemoteFailure."""
        target = _target(path, query)
        self._check_may_ask(destination, ignore_back_off=False)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._slot(destination))
            try:
                response = await self._open(stack, "GET", destination, target, None, NO_CONTENT, timeout_ms, max_bytes)
            except ServerUnreachable:
                await self.back_off.failed(destination)
                raise
            if response.status != 200:
                raise await self._error_of(destination, response)
            await self.back_off.succeeded(destination)
            yield response

    async def _ask(
        self,
        method: str,
        destination: str,
        target: str,
        content: Any = NO_CONTENT,
        *,
        timeout_ms: int | None,
        max_bytes: int,
        attempts: int,
        ignore_back_off: bool,
    ) -> Any:
        self._check_may_ask(destination, ignore_back_off=ignore_back_off)
        body = None if content is NO_CONTENT else encode_canonical_json(content, strict=False)
        seconds = (int(self._settings.request_timeout) if timeout_ms is None else timeout_ms) / 1000
        try:
            async with asyncio.timeout(seconds):
                return await self._attempt(method, destination, target, body, content, seconds, max_bytes, attempts)
        except TimeoutError:
            await self.back_off.failed(destination)
            raise ServerUnreachable(destination, "it took too long to answer") from None

    async def _attempt(
        self,
        method: str,
        destination: str,
        target: str,
        body: bytes | None,
        content: Any,
        seconds: float,
        max_bytes: int,
        attempts: int,
    ) -> Any:
        pause = _FIRST_RETRY_PAUSE_S
        while True:
            attempts -= 1
            try:
                async with self._slot(destination), AsyncExitStack() as stack:
                    response = await self._open(
                        stack, method, destination, target, body, content, round(seconds * 1000), max_bytes
                    )
                    answer = await self._read(destination, response)
            except ServerUnreachable:
                if attempts <= 0:
                    await self.back_off.failed(destination)
                    raise
            else:
                await self.back_off.succeeded(destination)
                return answer
            await self._clock.sleep(pause)
            pause *= 2

    async def _open(
        self,
        stack: AsyncExitStack,
        method: str,
        destination: str,
        target: str,
        body: bytes | None,
        content: Any,
        timeout_ms: int,
        max_bytes: int,
    ) -> StreamedResponse:
        """Send the request to the places of the server, one after another, until one answers."""
        places = await self._discovery.resolve(destination)
        headers = {
            "Authorization": authorization_header(
                method, target, self.server_name, destination, self._signing_key, content
            ),
            "Accept": "application/json, */*;q=0.5",
        }
        if body is not None:
            headers["Content-Type"] = "application/json"
        verify = not any(pattern.matches(destination) for pattern in self._settings.verification_exemptions)
        for number, place in enumerate(places, 1):
            try:
                return await stack.enter_async_context(
                    self._stream(place, method, target, headers, body, timeout_ms, max_bytes, verify)
                )
            except RemoteFailure as failure:
                self._discovery.demote(destination, place)
                may_try_next = method != "POST" and not isinstance(failure, RemoteTimeout)
                if number == len(places) or not may_try_next:
                    raise ServerUnreachable(destination, str(failure)) from None
        raise ServerUnreachable(destination, "nobody knows where it is")

    def _stream(
        self,
        place: Destination,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout_ms: int,
        max_bytes: int,
        verify: bool,
    ) -> AbstractAsyncContextManager[StreamedResponse]:
        return self._http.stream(
            method,
            place.base_url + target,
            body=body,
            headers={**headers, "Host": place.host_header},
            timeout_s=timeout_ms / 1000,
            max_bytes=max_bytes,
            server_hostname=place.tls_name if place.scheme == "https" else None,
            verify_tls=verify,
        )

    async def _read(self, destination: str, response: StreamedResponse) -> Any:
        if response.status != 200:
            raise await self._error_of(destination, response)
        try:
            raw = b"".join([chunk async for chunk in response.chunks()])
        except ResponseTooLarge as failure:
            raise RemoteServerError(destination, 200, "M_TOO_LARGE", str(failure)) from None
        except RemoteFailure as failure:
            raise ServerUnreachable(destination, str(failure)) from None
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError:
            raise ServerUnreachable(destination, "its answer is not JSON") from None

    async def _error_of(self, destination: str, response: StreamedResponse) -> FederationError:
        """The error in an answer. Whoever answers in Matrix's way is there; a bare error page of a proxy is nobody."""
        body: Any = None
        try:
            raw = b""
            async for chunk in response.chunks():
                raw += chunk
                if len(raw) > _MOST_ERROR_BYTES:
                    break
            body = orjson.loads(raw)
        except (RemoteFailure, orjson.JSONDecodeError):
            pass
        if not isinstance(body, dict) or not isinstance(body.get("errcode"), str):
            if response.status >= 500 or response.status < 400:
                return ServerUnreachable(destination, f"it answered {response.status}")
            errcode = "M_UNRECOGNIZED" if response.status in (404, 405) else "M_UNKNOWN"
            body = {"errcode": errcode, "error": f"answered {response.status}"}
        await self.back_off.succeeded(destination)
        sentence = body.get("error")
        return RemoteServerError(
            destination,
            response.status,
            body["errcode"],
            sentence if isinstance(sentence, str) else "no reason given",
            body,
            _retry_after_ms(body, response.headers) if response.status == 429 else None,
        )

    def _check_may_ask(self, destination: str, *, ignore_back_off: bool) -> None:
        if destination == self.server_name:
            raise ServerUnreachable(destination, "it is this server")
        if not self._settings.may_talk_to(destination):
            raise ServerNotAllowed(destination)
        if not ignore_back_off and self.back_off.is_paused(destination):
            raise ServerUnreachable(destination, "it failed lately and is left alone for a while")

    @asynccontextmanager
    async def _slot(self, destination: str) -> AsyncIterator[None]:
        """One of the few places for requests to a server at the same time."""
        slots = self._slots.get(destination)
        if slots is None:
            slots = self._slots[destination] = _Slots()
        slots.users += 1
        try:
            async with slots.semaphore:
                yield
        finally:
            slots.users -= 1
            if slots.users == 0:
                self._slots.pop(destination, None)


class _Slots:
    __slots__ = ("semaphore", "users")

    def __init__(self) -> None:
        self.semaphore = asyncio.Semaphore(_MOST_AT_ONCE)
        self.users = 0


def _target(path: str, query: Query | None) -> str:
    return f"{path}?{urlencode(query, doseq=True)}" if query else path


def _retry_after_ms(body: Mapping[str, Any], headers: Mapping[str, str]) -> int | None:
    named = body.get("retry_after_ms")
    if type(named) is int and named >= 0:
        return named
    seconds = headers.get("retry-after", "")
    return int(seconds) * 1000 if seconds.isdigit() and len(seconds) < 8 else None
