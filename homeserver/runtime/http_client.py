"""Requests to the outside: bounded in time and size, never to an address that is out of bounds.
The check stands where the socket is made: it sees each resolved address and each literal one, on redirects as well.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver
from yarl import URL

from homeserver_config.sections.outgoing import OutgoingSettings

Network = IPv4Network | IPv6Network
_AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]
_REDIRECTS = (301, 302, 303, 307, 308)
_CHUNK = 65_536
_BODY_HEADERS = ("content-type", "content-length")


class RemoteFailure(Exception):
    """The other side could not be asked, or answered in a way that is of no use. `str` of it is safe to log."""


class RemoteTimeout(RemoteFailure):
    """The other side took too long."""


class AddressDenied(RemoteFailure):
    """The address is out of bounds (see `outgoing.ip_ranges_denied`)."""


class ResponseTooLarge(RemoteFailure):
    """The answer is larger than asked for."""


class _DeniedAddress(OSError):
    """Raised inside the connector; the constant text lets it pass happy eyeballs unchanged."""

    def __init__(self) -> None:
        super().__init__("the address is out of bounds")


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A whole answer. Header names are in lower case; of repeated headers the first counts."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str

    def json(self) -> Any:
        """The body as JSON; RemoteFailure if it is none."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            raise RemoteFailure(f"{_place(self.url)} answered {self.status} with something that is not JSON") from None


class StreamedResponse:
    """An answer whose body is read piece by piece."""

    __slots__ = ("_deadline", "_max_bytes", "_response", "headers", "status", "url")

    def __init__(self, response: aiohttp.ClientResponse, max_bytes: int, deadline: float) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = _first_of_each(response)
        self.url = str(response.url)
        self._response = response
        self._max_bytes = max_bytes
        self._deadline = deadline

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, decompressed. Raises RemoteFailure when it breaks off, takes too long or grows too large."""
        announced = self._response.content_length
        if announced is not None and announced > self._max_bytes:
            raise self._too_large()
        size = 0
        while chunk := await self._next_chunk():
            size += len(chunk)
            if size > self._max_bytes:
                raise self._too_large()
            yield chunk

    async def _next_chunk(self) -> bytes:
        with _as_remote_failures(self.url):
            async with asyncio.timeout_at(self._deadline):
                return await self._response.content.read(_CHUNK)

    def _too_large(self) -> ResponseTooLarge:
        return ResponseTooLarge(f"the answer of {_place(self.url)} is larger than {self._max_bytes} bytes")


class AddressRules:
    """Which IP addresses may be connected to: all but the denied ones, and of those the allowed exceptions."""

    def __init__(self, denied: Iterable[Network], allowed: Iterable[Network] = ()) -> None:
        self._denied = tuple(denied)
        self._allowed = tuple(allowed)

    def allow(self, address: str) -> bool:
        """Whether an IP address may be connected to. False for what is no IP address."""
        try:
            parsed = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed
        if any(parsed in network for network in self._allowed):
            return True
        return not any(parsed in network for network in self._denied)


class HttpClient:
    """The one way out. Make it inside the event loop's run; `close` it at the end."""

    def __init__(
        self,
        settings: OutgoingSettings,
        *,
        user_agent: str = "Starling",
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._settings = settings
        self._rules = AddressRules(settings.ip_ranges_denied, settings.ip_ranges_allowed)
        self._user_agent = user_agent
        self._resolver = resolver
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def request(
        self,
        method: str,
        url: str,
        *,
        json: Any = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        max_bytes: int | None = None,
        redirects: int = 0,
        server_hostname: str | None = None,
        verify_tls: bool = True,
    ) -> HttpResponse:
        """One request and its whole answer, of any status. Raises RemoteFailure when there is none.

        `redirects` is how many are followed; an answer that redirects further is returned as it is. `max_bytes` and
        `timeout_s` default to the settings. `server_hostname` is the name the certificate must be for, where that is
        not the URL's host.
        """
        async with self.stream(
            method,
            url,
            json=json,
            body=body,
            headers=headers,
            timeout_s=timeout_s,
            max_bytes=max_bytes,
            redirects=redirects,
            server_hostname=server_hostname,
            verify_tls=verify_tls,
        ) as response:
            content = b"".join([chunk async for chunk in response.chunks()])
            return HttpResponse(response.status, response.headers, content, response.url)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        json: Any = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        max_bytes: int | None = None,
        redirects: int = 0,
        server_hostname: str | None = None,
        verify_tls: bool = True,
    ) -> AsyncIterator[StreamedResponse]:
        """Like `request`, with the body still to be read; the time-out covers the reading too."""
        all_headers = {name.lower(): value for name, value in (headers or {}).items()}
        if json is not None:
            body = orjson.dumps(json)
            all_headers.setdefault("content-type", "application/json")
        seconds = self._settings.timeout.seconds if timeout_s is None else timeout_s
        limit = self._settings.max_response_size if max_bytes is None else max_bytes
        deadline = asyncio.get_running_loop().time() + seconds
        with _as_remote_failures(url):
            async with asyncio.timeout_at(deadline):
                response = await self._follow(
                    method, url, body, all_headers, redirects, server_hostname=server_hostname, verify_tls=verify_tls
                )
        async with response:
            yield StreamedResponse(response, limit, deadline)

    async def _follow(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: dict[str, str],
        redirects: int,
        *,
        server_hostname: str | None,
        verify_tls: bool,
    ) -> aiohttp.ClientResponse:
        target = _checked_url(url)
        while True:
            self._check_literal_address(target)
            response = await self._opened_session().request(
                method,
                target,
                data=body,
                headers=headers,
                allow_redirects=False,
                server_hostname=server_hostname,
                ssl=(self._tls or True) if verify_tls else False,
                proxy=self._settings.proxy,
            )
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or location is None or redirects == 0:
                return response
            response.release()
            redirects -= 1
            following = _checked_url(str(target.join(URL(location))))
            if following.origin() != target.origin():
                headers = {name: value for name, value in headers.items() if name != "authorization"}
                server_hostname = None
            if response.status == 303 or (response.status in (301, 302) and method == "POST"):
                method, body = "GET", None
                headers = {name: value for name, value in headers.items() if name not in _BODY_HEADERS}
            target = following

    def _opened_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=self._settings.connections, resolver=self._resolver, socket_factory=self._make_socket
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": self._user_agent},
                timeout=aiohttp.ClientTimeout(total=None, connect=self._settings.connect_timeout.seconds),
            )
        return self._session

    def _check_literal_address(self, target: URL) -> None:
        """What goes through a proxy makes no socket of ours, and is checked here as far as it can be."""
        if self._settings.proxy is not None and _is_address(target) and not self._rules.allow(target.host or ""):
            raise AddressDenied(f"the address of {_place(str(target))} is out of bounds")

    def _make_socket(self, info: _AddressInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        if self._settings.proxy is None and not self._rules.allow(str(address[0])):
            raise _DeniedAddress
        return socket.socket(family, kind, protocol)


@contextmanager
def _as_remote_failures(url: str) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise RemoteTimeout(f"{_place(url)} took too long to answer") from None
    except aiohttp.ClientConnectorError as error:
        if isinstance(error.os_error, _DeniedAddress):
            raise AddressDenied(f"the address of {_place(url)} is out of bounds") from None
        raise RemoteFailure(f"{_place(url)} cannot be reached: {error.os_error}") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise RemoteFailure(f"the request to {_place(url)} failed: {type(error).__name__}") from error


def _is_address(target: URL) -> bool:
    try:
        ip_address(target.host or "")
    except ValueError:
        return False
    return True


def _checked_url(url: str) -> URL:
    parsed = URL(url, encoded=True)
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise RemoteFailure(f"{_place(url)} is not an http(s) URL")
    return parsed


def _place(url: str) -> str:
    """Scheme and host of a URL; path and query may hold secrets."""
    return "/".join(url.partition("?")[0].split("/")[:3]) or "an empty URL"


def _first_of_each(response: aiohttp.ClientResponse) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in response.headers.items():
        headers.setdefault(name.lower(), value)
    return headers
