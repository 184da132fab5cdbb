"""`@endpoint`: what an HTTP method of an endpoint class answers to, as data; `routes_of` collects it from an instance.
The route table, the documentation of coverage and the runner all read the same metadata.
"""

import enum
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

_ATTRIBUTE = "__endpoints__"
_Function = TypeVar("_Function", bound=Callable[..., Any])


class Auth(enum.Enum):
    """Who may call an endpoint, and what the method gets after `request`."""

    NONE = "none"  # anybody; the method gets no requester
    OPTIONAL = "optional"  # anybody; a Requester or None
    USER = "user"  # users, no guests; a Requester
    GUEST_OK = "guest_ok"  # users and guests; a Requester
    ADMIN = "admin"  # server administrators; a Requester
    APPSERVICE = "appservice"  # application services; a Requester with appservice_id
    SERVER = "server"  # other servers; the name of the server that signed the request, a str


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """The metadata of one `@endpoint`. `operation` is the operation id in the specification's OpenAPI."""

    method: str
    paths: tuple[str, ...]
    auth: Auth
    operation: str
    limit: str | None
    body: Any
    optional_body: bool
    max_body_bytes: int | None


@dataclass(frozen=True, slots=True)
class Route:
    """One method on one path template, bound to the instance that answers it."""

    spec: EndpointSpec
    path: str
    handler: Callable[..., Any]
    defaults: dict[str, str] = field(default_factory=dict)

    @property
    def method(self) -> str:
        return self.spec.method


def endpoint(
    method: str,
    path: str | list[str],
    *,
    auth: Auth = Auth.USER,
    operation: str = "",
    limit: str | None = None,
    body: Any = None,
    optional_body: bool = False,
    max_body_bytes: int | None = None,
) -> Callable[[_Function], _Function]:
    """Mark a method as the answer to `method` on one or several path templates.

    `limit` names a rate-limit bucket. `body` is a msgspec Struct (checked, M_BAD_JSON with the path of the mistake),
    `dict` (any JSON object), `object` (any JSON value), `bytes` (raw) or None (the method reads the request itself or
    ignores the body). With `optional_body` an empty body counts as `{}`. The method is called with `request`, then the
    requester unless `auth` is NONE, then the body unless `body` is None. Several `@endpoint`s may stand on one method.
    Path templates: `{name}` is one segment, `{name*}` at the end is the rest of the path. A template ending in `/`
    matches only with the slash; beside a sibling with one more `{name}` it stands for that parameter being empty.
    """
    paths = (path,) if isinstance(path, str) else tuple(path)
    spec = EndpointSpec(method.upper(), paths, auth, operation, limit, body, optional_body, max_body_bytes)

    def mark(function: _Function) -> _Function:
        specs: list[EndpointSpec] = function.__dict__.setdefault(_ATTRIBUTE, [])
        specs.insert(0, spec)
        return function

    return mark


def routes_of(instance: object) -> list[Route]:
    """The routes of an instance's `@endpoint` methods, in written order; TypeError for a wrong signature."""
    routes: list[Route] = []
    seen: set[str] = set()
    for owner in type(instance).__mro__:
        for name, function in vars(owner).items():
            specs: list[EndpointSpec] | None = getattr(function, _ATTRIBUTE, None)
            if specs is None or name in seen:
                continue
            seen.add(name)
            handler = getattr(instance, name)
            for spec in specs:
                _check_signature(handler, spec)
                routes.extend(Route(spec, path, handler, _empty_parameters(path, spec.paths)) for path in spec.paths)
    return routes


def _check_signature(handler: Callable[..., Any], spec: EndpointSpec) -> None:
    given = 1 + (spec.auth is not Auth.NONE) + (spec.body is not None)
    try:
        inspect.signature(handler).bind(*range(given))
    except TypeError as mismatch:
        name = getattr(handler, "__qualname__", repr(handler))
        raise TypeError(
            f"{name} ({spec.method} {spec.paths[0]}) is called with {given} arguments: {mismatch}"
        ) from None
    if not inspect.iscoroutinefunction(handler):
        raise TypeError(f"{handler!r} ({spec.method} {spec.paths[0]}) must be an async method")


def _empty_parameters(path: str, siblings: tuple[str, ...]) -> dict[str, str]:
    if not path.endswith("/"):
        return {}
    for sibling in siblings:
        rest = sibling.removeprefix(path)
        if rest != sibling and rest.startswith("{") and "/" not in rest:
            return {rest.strip("{}*"): ""}
    return {}
