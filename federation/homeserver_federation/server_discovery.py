"""From a server's name to the address, the Host header and the certificate name of a request.

Spec: server-server-api #resolving-server-names
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from homeserver.protocol.identifiers import is_ip_literal, is_server_name, split_server_name
from homeserver.runtime.bounded_cache import BoundedCache
from homeserver_federation.errors import ServerUnreachable
from homeserver_federation.srv_records import SrvLookup, SrvRecord, SrvServiceRefused, in_order_of_use

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.randomness import Randomness
    from homeserver_federation.well_known import WellKnown

DEFAULT_PORT = 8448
_SERVICES = ("_matrix-fed._tcp", "_matrix._tcp")  # the second is deprecated
_KEPT_MS = 300_000
_MOST_SERVERS = 20_000


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a request goes: `host` is a name or an IP address (IPv6 without brackets) to connect to.

    `tls_name` is the name or address the certificate must be for.
    """

    host: str
    port: int
    host_header: str
    tls_name: str
    scheme: str = "https"

    @property
    def base_url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


class Discovery(Protocol):
    """Finds servers by their names."""

    async def resolve(self, server_name: str) -> Sequence[Destination]:
        """Where to reach a server, best first and at least one. Raises ServerUnreachable."""

    def demote(self, server_name: str, destination: Destination) -> None:
        """One of several places did not answer: name it last from now on."""


@dataclass(frozen=True, slots=True)
class _Found:
    destinations: tuple[Destination, ...]
    until_ms: int


class ServerDiscovery:
    """The steps of the specification. Answers are kept for minutes, `.well-known` files as long as they say."""

    def __init__(self, well_known: WellKnown, srv: SrvLookup, clock: Clock, randomness: Randomness) -> None:
        self._well_known = well_known
        self._srv = srv
        self._clock = clock
        self._randomness = randomness
        self.cache: BoundedCache[str, _Found] = BoundedCache("server_discovery", _MOST_SERVERS)
        self._under_way: dict[str, asyncio.Task[tuple[Destination, ...]]] = {}

    async def resolve(self, server_name: str) -> Sequence[Destination]:
        """Where to reach a server, best first. Raises ServerUnreachable."""
        known = self.cache.find(server_name)
        if known is not None and known.until_ms > self._clock.now_ms():
            return known.destinations
        if not is_server_name(server_name):
            raise ServerUnreachable(server_name, "this is not the name of a server")
        task = self._under_way.get(server_name)
        if task is None:
            task = self._under_way[server_name] = asyncio.create_task(self._find(server_name))
            task.add_done_callback(lambda done: self._finish(server_name, done))
        return await asyncio.shield(task)

    def demote(self, server_name: str, destination: Destination) -> None:
        """One of several places did not answer: name it last from now on."""
        known = self.cache.find(server_name)
        if known is None or len(known.destinations) < 2 or destination not in known.destinations:
            return
        others = tuple(other for other in known.destinations if other != destination)
        self.cache.put(server_name, replace(known, destinations=(*others, destination)))

    def _finish(self, server_name: str, task: asyncio.Task[tuple[Destination, ...]]) -> None:
        self._under_way.pop(server_name, None)
        if not task.cancelled():
            task.exception()  # those who wait have seen it; nobody may be left to

    async def _find(self, server_name: str) -> tuple[Destination, ...]:
        host, port = split_server_name(server_name)
        found = _without_lookup(host, port)
        if found is None:
            # 3. If there is such a file, the name in it takes the place of the server's.
            delegated = await self._well_known.find(host)
            if delegated is not None:
                host, port = split_server_name(delegated)
            found = _without_lookup(host, port) or await self._by_srv(server_name, host)
        self.cache.put(server_name, _Found(found, self._clock.now_ms() + _KEPT_MS))
        return found

    async def _by_srv(self, server_name: str, host: str) -> tuple[Destination, ...]:
        """3.3 to 3.5 for a delegated name, 4 to 6 for one that is not."""
        for service in _SERVICES:
            try:
                records = await self._srv.lookup(f"{service}.{host}")
            except SrvServiceRefused:
                raise ServerUnreachable(server_name, "its DNS says that there is no Matrix server") from None
            if records:
                ordered = in_order_of_use(records, self._randomness)
                return tuple(_of_record(record, host) for record in ordered)
        return (Destination(host, DEFAULT_PORT, host, host),)


def _without_lookup(host: str, port: int | None) -> tuple[Destination, ...] | None:
    """Steps 1 and 2: addresses, and names with a port, are used as they are."""
    header = host if port is None else f"{host}:{port}"
    if is_ip_literal(host):
        address = host.strip("[]")
        return (Destination(address, port or DEFAULT_PORT, header, address),)
    if port is not None:
        return (Destination(host, port, header, host),)
    return None


def _of_record(record: SrvRecord, host: str) -> Destination:
    # The record is not to be trusted: the certificate must be for the name it was looked up for.
    return Destination(record.target, record.port, host, host)


class FixedDiscovery:
    """Names and places known beforehand: closed networks and tests."""

    def __init__(self, places: dict[str, Destination]) -> None:
        self.places = places

    async def resolve(self, server_name: str) -> Sequence[Destination]:
        """The place of a server. Raises ServerUnreachable for one that is not listed."""
        place = self.places.get(server_name)
        if place is None:
            raise ServerUnreachable(server_name, "nobody knows where it is")
        return [place]

    def demote(self, server_name: str, destination: Destination) -> None:
        """There is only one."""
