"""SRV records: how they are looked up, and in which order their targets are used.

Spec: server-server-api #resolving-server-names
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import aiodns
import structlog
from pycares import SRVRecordData

if TYPE_CHECKING:
    from homeserver.runtime.randomness import Randomness

_log = structlog.get_logger("homeserver.federation.discovery")
_TIMEOUT_S = 10.0


class SrvRecord(NamedTuple):
    """One target of a service; `target` is a host name without the final dot."""

    priority: int
    weight: int
    port: int
    target: str


class SrvServiceRefused(Exception):
    """The only target is `.`: the domain says that the service does not exist there."""


class SrvLookup(Protocol):
    """Asks the DNS for SRV records."""

    async def lookup(self, name: str) -> Sequence[SrvRecord]:
        """The records of a name; none if there are none or the DNS does not answer. Raises SrvServiceRefused."""


class DnsSrvLookup:
    """Asks the name servers given (`address:port`), by default those of this machine. `close` it at the end."""

    def __init__(self, name_servers: Sequence[str] | None = None) -> None:
        self._name_servers = name_servers
        self._resolver: aiodns.DNSResolver | None = None

    async def lookup(self, name: str) -> Sequence[SrvRecord]:
        """The records of a name. Raises SrvServiceRefused."""
        if self._resolver is None:
            self._resolver = aiodns.DNSResolver(self._name_servers, timeout=_TIMEOUT_S / 4, tries=2)
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                answer = await self._resolver.query_dns(name, "SRV")
        except (aiodns.error.DNSError, TimeoutError) as error:
            _log.debug("no SRV record", name=name, reason=str(error))
            return []
        found = [
            SrvRecord(record.data.priority, record.data.weight, record.data.port, record.data.target.rstrip("."))
            for record in answer.answer
            if isinstance(record.data, SRVRecordData)
        ]
        return usable(found)

    async def close(self) -> None:
        if self._resolver is not None:
            await self._resolver.close()
            self._resolver = None


def usable(records: Sequence[SrvRecord]) -> list[SrvRecord]:
    """The records that name a target. Raises SrvServiceRefused when there are records and none does."""
    named = [record for record in records if record.target and 0 < record.port < 65_536]
    if records and not named:
        raise SrvServiceRefused
    return named


def in_order_of_use(records: Iterable[SrvRecord], randomness: Randomness) -> list[SrvRecord]:
    """By priority, lowest first; among equals drawn at random, each as likely as its weight (RFC 2782)."""
    by_priority: dict[int, list[SrvRecord]] = {}
    for record in records:
        by_priority.setdefault(record.priority, []).append(record)
    ordered: list[SrvRecord] = []
    for priority in sorted(by_priority):
        # Those without weight come first in the list: they are drawn only when the number is 0.
        left = sorted(by_priority[priority], key=lambda record: record.weight > 0)
        while left:
            drawn = _draw(left, randomness)
            left.remove(drawn)
            ordered.append(drawn)
    return ordered


def _draw(records: Sequence[SrvRecord], randomness: Randomness) -> SrvRecord:
    total = sum(record.weight for record in records)
    number = randomness.below(total + 1) if total else 0
    passed = 0
    for record in records:
        passed += record.weight
        if passed >= number:
            return record
    return records[-1]
