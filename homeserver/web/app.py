"""Builds the ASGI application: Starlette around one trie route, CORS on every answer, a graceful end.
Pure ASGI throughout, because a `BaseHTTPMiddleware` costs more than the rest together.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from homeserver.protocol.errors import MatrixError
from homeserver.web.endpoint import Auth, Route, endpoint, routes_of
from homeserver.web.error_responses import matrix_error_answer, no_route_answer, unexpected_error_answer
from homeserver.web.request import Network, Request
from homeserver.web.responses import CORS_HEADERS, JsonBytes, json_answer, send_json, with_cors
from homeserver.web.router import RouteTrie, TrieRoute, raw_path_of
from homeserver.web.runner import Authenticator, CatchUp, EndpointRunner, RateLimiter, ServerAuthenticator
from homeserver.web.unread_body import WITH_BODY, BodyReader

AnswerObserver = Callable[[Route | None, str, int, float], None]
"""Told after every answer: the route, the method, the status (0: the client went away), the seconds it took."""

Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]


@dataclass(frozen=True, slots=True)
class WebSettings:
    """`max_body_bytes` bounds every body an endpoint declares; `trusted_proxies` is empty without reverse proxies."""

    max_body_bytes: int = 1_048_576
    trusted_proxies: tuple[Network, ...] = ()


class Health:
    """Answers load balancers and process supervisors: `OK` while the process serves requests."""

    @endpoint("GET", "/health", auth=Auth.NONE)
    async def health(self, request: Request) -> Response:
        return Response("OK", media_type="text/plain")


class WebApp(Starlette):
    """The application. `in_flight` counts requests being answered; `drain` waits for them to finish."""

    def __init__(
        self,
        trie: RouteTrie,
        runner: EndpointRunner,
        settings: WebSettings,
        lifespan: Lifespan | None,
        observe_answer: AnswerObserver | None,
    ) -> None:
        super().__init__(routes=[TrieRoute(self._answer_counted)], lifespan=lifespan)
        self.in_flight = 0
        self._trie = trie
        self._runner = runner
        self._settings = settings
        self._observe_answer = observe_answer
        self._draining = False
        self._idle = asyncio.Event()

    def build_middleware_stack(self) -> ASGIApp:
        """The bare router: every error is rendered here, so Starlette's own error layers would only cost time."""
        return self.router

    @property
    def endpoint_routes(self) -> tuple[Route, ...]:
        return self._trie.routes

    async def drain(self, timeout_s: float) -> int:
        """Refuse new requests with 503 and wait for those in flight; returns how many are left after `timeout_s`."""
        self._draining = True
        if self.in_flight:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._idle.wait()
            except TimeoutError:
                pass
        return self.in_flight

    async def _answer_counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.in_flight += 1
        try:
            await self._answer(scope, receive, send)
        finally:
            self.in_flight -= 1
            if self._draining and not self.in_flight:
                self._idle.set()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        method: str = scope["method"]
        if method == "OPTIONS":
            await send({"type": "http.response.start", "status": 204, "headers": list(CORS_HEADERS)})
            await send({"type": "http.response.body", "body": b""})
            return
        started = time.perf_counter()
        body = BodyReader(receive) if method in WITH_BODY else None
        if body is not None:
            receive = body
        tracked = _TrackedSend(send, body)
        route: Route | None = None
        try:
            try:
                if self._draining:
                    raise MatrixError("M_UNKNOWN", "This server is shutting down.", 503)
                match = self._trie.find(method, raw_path_of(scope))
                route = match.route
                if route is None:
                    answer: Any = no_route_answer(match.allowed)
                else:
                    request = Request(scope, receive, match.parameters, trusted_proxies=self._settings.trusted_proxies)
                    answer = await self._runner.run(route, request)
                await self._send_answer(answer, method, scope, receive, tracked)
            except MatrixError as error:
                await tracked.send_unless_started(matrix_error_answer(error), error)
            except ClientDisconnect:
                pass  # nobody is left to tell
            except Exception as error:  # noqa: BLE001 (this is the error renderer)
                operation = route.spec.operation or route.path if route else ""
                await tracked.send_unless_started(
                    unexpected_error_answer(error, method=method, operation=operation), error
                )
        finally:
            if self._observe_answer is not None:
                self._observe_answer(route, method, tracked.status, time.perf_counter() - started)

    @staticmethod
    async def _send_answer(answer: Any, method: str, scope: Scope, receive: Receive, send: Send) -> None:
        head_only = method == "HEAD"
        if isinstance(answer, Response):
            await answer(scope, receive, with_cors(send, head_only=head_only))
            return
        if not isinstance(answer, JsonBytes):
            answer = json_answer(answer)
        await send_json(send, answer, head_only=head_only)


class _TrackedSend:
    """Remembers the status sent, so that an error after the headers does not send a second answer."""

    __slots__ = ("_body", "_send", "status")

    def __init__(self, send: Send, body: BodyReader | None) -> None:
        self._send = send
        self._body = body
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self._body is not None and not self._body.is_read:
                await self._body.read_rest()
        await self._send(message)

    async def send_unless_started(self, answer: JsonBytes, error: Exception) -> None:
        """Send an error's answer; if the headers are out already, raise it on, so that the server cuts the connection
        and the client does not take half a body for a whole one.
        """
        if self.status:
            raise error
        await send_json(self, answer)


def build_asgi(
    routes: Iterable[Route],
    authenticator: Authenticator,
    limiter: RateLimiter,
    *,
    settings: WebSettings | None = None,
    lifespan: Lifespan | None = None,
    server_authenticator: ServerAuthenticator | None = None,
    observe_answer: AnswerObserver | None = None,
    catch_up: CatchUp | None = None,
) -> WebApp:
    """The ASGI application for these routes and `GET /health`; ValueError if two claim the same path and method."""
    settings = settings or WebSettings()
    trie = RouteTrie([*routes, *routes_of(Health())])
    runner = EndpointRunner(authenticator, limiter, server_authenticator, settings.max_body_bytes, catch_up)
    return WebApp(trie, runner, settings, lifespan, observe_answer)
