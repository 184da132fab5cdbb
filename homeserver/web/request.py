"""One HTTP request over the ASGI scope: path parameters, query, headers, body, and the address it came from.
Everything is parsed when first asked for; most requests ask for little.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, overload
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from homeserver.protocol import errors

Network = IPv4Network | IPv6Network


class Request:
    """A request as endpoints see it. `path` holds the path's parameters, each decoded once from the raw path."""

    __slots__ = ("_body", "_query", "_receive", "_trusted_proxies", "notes", "path", "scope")

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        path: dict[str, str] | None = None,
        *,
        trusted_proxies: tuple[Network, ...] = (),
    ) -> None:
        self.scope = scope
        self.path: dict[str, str] = {} if path is None else path
        self.notes: dict[str, Any] = {}  # an authenticator's own remarks, e.g. the origin's signature key
        self._receive = receive
        self._trusted_proxies = trusted_proxies
        self._query: list[tuple[str, str]] | None = None
        self._body: bytes | None = None

    @property
    def method(self) -> str:
        return str(self.scope["method"])

    @property
    def target(self) -> str:
        """The path and query exactly as sent, as a federation signature covers them."""
        raw: bytes = self.scope.get("raw_path") or self.scope["path"].encode()
        query: bytes = self.scope.get("query_string", b"")
        return (raw + b"?" + query if query else raw).decode("latin-1")

    # Query

    @property
    def query_items(self) -> list[tuple[str, str]]:
        """Every pair of the query string, in order, empty values kept."""
        if self._query is None:
            self._query = parse_qsl(self.scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        return self._query

    @property
    def query(self) -> Mapping[str, str]:
        """The first value of each name."""
        return dict(reversed(self.query_items))

    def query_list(self, name: str) -> list[str]:
        """All values of a name, in order."""
        return [value for key, value in self.query_items if key == name]

    def find_query(self, name: str) -> str | None:
        """The first value of a name, or None."""
        for key, value in self.query_items:
            if key == name:
                return value
        return None

    def query_str(self, name: str) -> str:
        """The first value of a name; M_MISSING_PARAM without one."""
        value = self.find_query(name)
        if value is None:
            raise errors.missing_param(f"The query parameter `{name}` is missing.")
        return value

    @overload
    def query_int(self, name: str, default: int, *, minimum: int | None = None, maximum: int | None = None) -> int: ...
    @overload
    def query_int(
        self, name: str, default: None = None, *, minimum: int | None = None, maximum: int | None = None
    ) -> int | None: ...
    def query_int(
        self, name: str, default: int | None = None, *, minimum: int | None = None, maximum: int | None = None
    ) -> int | None:
        """An integer, or `default` when absent. Below `minimum`: M_INVALID_PARAM. Above `maximum`: lowered to it,
        because the specification lets a server return fewer than asked for.
        """
        text = self.find_query(name)
        if text is None:
            return default
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
            raise errors.invalid_param(f"The query parameter `{name}` must be an integer.")
        number = int(text)
        if minimum is not None and number < minimum:
            raise errors.invalid_param(f"The query parameter `{name}` must be at least {minimum}.")
        if maximum is not None and number > maximum:
            return maximum
        return number

    def query_bool(self, name: str, default: bool = False) -> bool:
        text = self.find_query(name)
        if text is None:
            return default
        if text not in ("true", "false"):
            raise errors.invalid_param(f"The query parameter `{name}` must be `true` or `false`.")
        return text == "true"

    def query_choice(self, name: str, choices: Iterable[str], default: str) -> str:
        text = self.find_query(name)
        if text is None:
            return default
        allowed = list(choices)
        if text not in allowed:
            raise errors.invalid_param(f"The query parameter `{name}` must be one of {', '.join(allowed)}.")
        return text

    # Headers and addresses

    def header(self, name: str) -> str | None:
        """The first header of that name (any case), or None."""
        wanted = name.lower().encode("latin-1")
        for key, value in self.scope["headers"]:
            if key == wanted:
                return bytes(value).decode("latin-1")
        return None

    @property
    def user_agent(self) -> str:
        return self.header("user-agent") or ""

    @property
    def client_address(self) -> str:
        """The caller's IP address. Behind trusted proxies it is the last X-Forwarded-For entry that is not one of them:
        entries further left are whatever the caller claims.
        """
        client = self.scope.get("client")
        peer = str(client[0]) if client else ""
        if not self._trusted_proxies or (peer and not self._is_trusted(peer)):
            return peer
        entries = [value for key, value in self.scope["headers"] if key == b"x-forwarded-for"]
        hops = [hop.strip() for hop in b",".join(entries).decode("latin-1").split(",") if hop.strip()]
        for hop in reversed(hops):
            if not self._is_trusted(hop):
                return hop
        return hops[0] if hops else peer

    def _is_trusted(self, address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        mapped = getattr(parsed, "ipv4_mapped", None)
        return any((mapped or parsed) in network for network in self._trusted_proxies)

    @property
    def access_token(self) -> str | None:
        """The token of the Authorization header or, for old clients, of the query; None without one."""
        header = self.header("authorization")
        if header is None:
            return self.find_query("access_token") or None
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            return None
        return token.strip() or None

    # Body

    @property
    def content_length(self) -> int | None:
        text = self.header("content-length")
        return int(text) if text is not None and text.isascii() and text.isdigit() else None

    async def body(self, limit: int) -> bytes:
        """The whole body, at most `limit` bytes (M_TOO_LARGE above). May be asked for again."""
        if self._body is None:
            self._body = b"".join([chunk async for chunk in self.stream(limit)])
        if len(self._body) > limit:
            raise errors.too_large(f"The request body may hold at most {limit} bytes.")
        return self._body

    async def stream(self, limit: int | None = None) -> AsyncIterator[bytes]:
        """The body's chunks as they arrive. M_TOO_LARGE past `limit` bytes, ClientDisconnect if the client goes."""
        announced = self.content_length
        if limit is not None and announced is not None and announced > limit:
            raise errors.too_large(f"The request body may hold at most {limit} bytes.")
        size = 0
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk = message.get("body", b"")
            more = message.get("more_body", False)
            size += len(chunk)
            if limit is not None and size > limit:
                raise errors.too_large(f"The request body may hold at most {limit} bytes.")
            if chunk:
                yield chunk

    async def wait_for_disconnect(self) -> None:
        """Return when the client has gone away; for long polls, after the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
