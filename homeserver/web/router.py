"""All routes in one segment trie inside one Starlette route, matched on the raw path.
Starlette's own routes are tried one after the other and match the decoded path, where `%2F` in a user id is a slash.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from homeserver.protocol import errors
from homeserver.web.endpoint import Route


@dataclass(slots=True)
class _Node:
    static: dict[str, "_Node"] = field(default_factory=dict)
    parameter: "_Node | None" = None
    routes: dict[str, tuple[Route, tuple[str, ...]]] = field(default_factory=dict)
    tails: dict[str, tuple[Route, tuple[str, ...]]] = field(default_factory=dict)


@dataclass(slots=True)
class RouteMatch:
    """The route a request goes to and the parameters of its path, or the methods the path does know."""

    route: Route | None
    parameters: dict[str, str]
    allowed: tuple[str, ...] = ()


class RouteTrie:
    """Finds a route by method and path: static segments before parameters, parameters before the rest of a path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        self.routes = tuple(routes)
        for route in self.routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        if not route.path.startswith("/"):
            raise ValueError(f"the path {route.path!r} must start with a slash")
        node, names = self._root, []
        segments = route.path.split("/")[1:]
        for index, segment in enumerate(segments):
            if not segment.startswith("{"):
                node = node.static.setdefault(segment, _Node())
                continue
            name = segment.strip("{}")
            names.append(name.removesuffix("*"))
            if name.endswith("*"):
                if index != len(segments) - 1:
                    raise ValueError(f"{route.path!r}: only the last segment may be the rest of the path")
                self._put(node.tails, route, names)
                return
            node.parameter = node.parameter or _Node()
            node = node.parameter
        self._put(node.routes, route, names)

    @staticmethod
    def _put(table: dict[str, tuple[Route, tuple[str, ...]]], route: Route, names: list[str]) -> None:
        if route.method in table:
            other = table[route.method][0]
            raise ValueError(f"{route.method} {route.path} is claimed by {other.handler!r} and {route.handler!r}")
        table[route.method] = (route, tuple(names))

    def find(self, method: str, raw_path: str) -> RouteMatch:
        """The route for a method (HEAD goes to GET) on a path as sent, percent-encoding included.

        Raises M_INVALID_PARAM if a segment is not UTF-8 once decoded.
        """
        segments = raw_path.split("/")
        del segments[0]
        if "%" in raw_path:
            segments = [_decode(segment) if "%" in segment else segment for segment in segments]
        values: list[str] = []
        allowed: dict[str, None] = {}
        found = _walk(self._root, segments, 0, method, values, allowed)
        if found is None and method == "HEAD" and "GET" in allowed:
            found = _walk(self._root, segments, 0, "GET", values, allowed)
        if found is None:
            return RouteMatch(None, {}, tuple(allowed))
        route, names = found
        return RouteMatch(route, {**route.defaults, **dict(zip(names, values, strict=True))})


def _walk(
    node: _Node, segments: list[str], index: int, method: str, values: list[str], allowed: dict[str, None]
) -> tuple[Route, tuple[str, ...]] | None:
    if index == len(segments):
        found = node.routes.get(method)
        if found is None:
            allowed.update(dict.fromkeys(node.routes))
        return found
    segment = segments[index]
    child = node.static.get(segment)
    if child is not None:
        found = _walk(child, segments, index + 1, method, values, allowed)
        if found is not None:
            return found
    if node.parameter is not None and segment:
        values.append(segment)
        found = _walk(node.parameter, segments, index + 1, method, values, allowed)
        if found is not None:
            return found
        values.pop()
    if not node.tails:
        return None
    found = node.tails.get(method)
    if found is None:
        allowed.update(dict.fromkeys(node.tails))
        return None
    values.append("/".join(segments[index:]))
    return found


def _decode(segment: str) -> str:
    try:
        return unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise errors.invalid_param("The path is not valid UTF-8.") from None


def raw_path_of(scope: Scope) -> str:
    """The path as sent; servers that do not tell (`raw_path` is optional in ASGI) get it encoded again."""
    raw = scope.get("raw_path")
    if raw is None:
        return quote(scope["path"], safe="/:@!$&'()*+,;=~-._")
    return bytes(raw).partition(b"?")[0].decode("latin-1")


class TrieRoute(BaseRoute):
    """The one Starlette route of the application: takes every HTTP request and hands it to `handle_request`."""

    def __init__(self, handle_request: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._handle_request = handle_request

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return (Match.FULL, {}) if scope["type"] == "http" else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._handle_request(scope, receive, send)
