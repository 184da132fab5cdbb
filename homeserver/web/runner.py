"""Runs one endpoint: authenticate, rate limit, read and check the body, call, return what is to be rendered.
The order is a promise: nobody unauthenticated gets a body parsed, nobody over the limit gets work done.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec
import orjson

from homeserver.protocol import errors
from homeserver.protocol.errors import MatrixError
from homeserver.web.endpoint import Auth, EndpointSpec, Route
from homeserver.web.request import Request
from homeserver.web.requester import Requester


class Authenticator(Protocol):
    """Turns an access token into who asks; raises M_UNKNOWN_TOKEN and its relatives."""

    async def authenticate(self, token: str, request: Request) -> Requester: ...


class ServerAuthenticator(Protocol):
    """Checks another server's signature over a request; the signature covers the body, so it is read before.

    Returns the origin's name; raises M_UNAUTHORIZED or M_FORBIDDEN.
    """

    async def authenticate(self, request: Request, body: bytes) -> str: ...


class RateLimiter(Protocol):
    """Counts a request in a bucket; raises `limit_exceeded`. `address` is the client's address, or for requests of
    other servers their name. May be a plain or an async method.
    """

    def check(self, bucket: str, requester: Requester | None, address: str) -> Awaitable[None] | None: ...


CatchUp = Callable[[], Awaitable[bool]]
_PERHAPS_OUTDATED = frozenset({401, 403, 404})


class EndpointRunner:
    """`catch_up` hears of what other processes did; True if there was anything."""

    def __init__(
        self,
        authenticator: Authenticator,
        limiter: RateLimiter,
        server_authenticator: ServerAuthenticator | None,
        max_body_bytes: int,
        catch_up: CatchUp | None = None,
    ) -> None:
        self._catch_up = catch_up
        self._authenticator = authenticator
        self._limiter = limiter
        self._server_authenticator = server_authenticator
        self._max_body_bytes = max_body_bytes

    async def run(self, route: Route, request: Request) -> Any:
        """What the endpoint returns. Raises MatrixError for callers' mistakes, anything else for ours."""
        if self._catch_up is None:
            return await self._run(route, request)
        try:
            return await self._run(route, request)
        except MatrixError as error:
            can_be_repeated = route.spec.body is not None or request.method == "GET"
            if error.status not in _PERHAPS_OUTDATED or not can_be_repeated or not await self._catch_up():
                raise
        # Refused by what this process knew a moment ago; another had changed it.
        return await self._run(route, request)

    async def _run(self, route: Route, request: Request) -> Any:
        spec = route.spec
        if spec.auth is Auth.SERVER:
            return await self._run_for_server(route, request)
        requester = await self._requester(spec.auth, request)
        if spec.limit is not None:
            await self._count(spec.limit, requester, request.client_address)
        arguments: list[Any] = [request] if spec.auth is Auth.NONE else [request, requester]
        if spec.body is not None:
            arguments.append(await self._checked_body(spec, request))
        # After the body: a malformed request is told so, whoever sent it.
        if spec.auth is Auth.ADMIN and (requester is None or not requester.is_admin):
            raise errors.forbidden("Only administrators of this server may do this.")
        return await route.handler(*arguments)

    async def _run_for_server(self, route: Route, request: Request) -> Any:
        if self._server_authenticator is None:
            raise errors.unrecognized("This server does not federate.")
        body = await request.body(self._limit(route.spec))
        origin = await self._server_authenticator.authenticate(request, body)
        if route.spec.limit is not None:
            await self._count(route.spec.limit, None, origin)
        if route.spec.body is None:
            return await route.handler(request, origin)
        return await route.handler(request, origin, await self._checked_body(route.spec, request))

    async def _requester(self, auth: Auth, request: Request) -> Requester | None:
        if auth is Auth.NONE:
            return None
        token = request.access_token
        if token is None:
            if auth is Auth.OPTIONAL:
                return None
            raise errors.missing_token()
        requester = await self._authenticator.authenticate(token, request)
        if requester.is_guest and auth not in (Auth.GUEST_OK, Auth.OPTIONAL):
            raise MatrixError("M_GUEST_ACCESS_FORBIDDEN", "Guests may not do this.", 403)
        if auth is Auth.APPSERVICE and requester.appservice_id is None:
            raise errors.forbidden("Only application services may do this.")
        return requester

    async def _count(self, bucket: str, requester: Requester | None, address: str) -> None:
        if requester is not None and not requester.is_rate_limited:
            return
        pending = self._limiter.check(bucket, requester, address)
        if pending is not None:
            await pending

    def _limit(self, spec: EndpointSpec) -> int:
        return self._max_body_bytes if spec.max_body_bytes is None else spec.max_body_bytes

    async def _checked_body(self, spec: EndpointSpec, request: Request) -> Any:
        raw = await request.body(self._limit(spec))
        if spec.body is bytes:
            return raw
        if not raw and spec.optional_body:
            raw = b"{}"
        return check_body(parse_json(raw), spec.body)


def parse_json(raw: bytes) -> Any:
    """The JSON value in a request's body; M_NOT_JSON if it holds none."""
    if not raw:
        raise errors.not_json("The request needs a JSON body.")
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as mistake:
        raise errors.not_json(f"The request body is not JSON: {mistake}.") from None


def check_body(value: Any, body_type: Any) -> Any:
    """`value` as `body_type` (a msgspec Struct, `dict` or `object`); M_BAD_JSON naming the path of what is wrong."""
    if body_type is object:
        return value
    if body_type is dict:
        if not isinstance(value, dict):
            raise errors.bad_json("The request body must be a JSON object.")
        return value
    try:
        return msgspec.convert(value, body_type)
    except msgspec.ValidationError as mistake:
        raise errors.bad_json(f"The request body is not as specified: {mistake}.") from None
