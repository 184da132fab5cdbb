"""SRV records over a real DNS exchange, with a name server of the test's own on loopback."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest

from homeserver_federation.srv_records import DnsSrvLookup, SrvRecord, SrvServiceRefused

SRV, IN = 33, 1


def encoded_name(name: str) -> bytes:
    labels = [label for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"


class NameServer(asyncio.DatagramProtocol):
    """Answers SRV questions from `records`; names without an entry do not exist, `None` is a failure."""

    def __init__(self) -> None:
        self.records: dict[str, list[SrvRecord] | None] = {}
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self._transport.sendto(self._answer(data), address)

    def _answer(self, data: bytes) -> bytes:
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode())
            at += 1 + data[at]
        question = data[12 : at + 5]
        name = ".".join(labels)
        records = self.records.get(name, [])
        code = 2 if records is None else 0 if name in self.records else 3
        found = records or []
        header = data[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(found), 0, 0)
        return header + question + b"".join(self._record(record) for record in found)

    def _record(self, record: SrvRecord) -> bytes:
        body = struct.pack("!HHH", record.priority, record.weight, record.port) + encoded_name(record.target)
        return struct.pack("!HHHIH", 0xC00C, SRV, IN, 60, len(body)) + body


@pytest.fixture
async def zone() -> AsyncIterator[tuple[NameServer, DnsSrvLookup]]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    lookup = DnsSrvLookup([f"127.0.0.1:{port}"])
    yield server, lookup
    await lookup.close()
    transport.close()


async def test_records(zone: tuple[NameServer, DnsSrvLookup]) -> None:
    server, lookup = zone
    records = [SrvRecord(1, 10, 8448, "one.example.org"), SrvRecord(2, 0, 443, "two.example.org")]
    server.records["_matrix-fed._tcp.example.org"] = records
    assert sorted(await lookup.lookup("_matrix-fed._tcp.example.org")) == records


async def test_no_records(zone: tuple[NameServer, DnsSrvLookup]) -> None:
    server, lookup = zone
    server.records["_empty._tcp.example.org"] = []
    server.records["_broken._tcp.example.org"] = None
    for name in ("_missing._tcp.example.org", "_empty._tcp.example.org", "_broken._tcp.example.org"):
        assert list(await lookup.lookup(name)) == []


async def test_a_service_that_is_refused(zone: tuple[NameServer, DnsSrvLookup]) -> None:
    server, lookup = zone
    server.records["_matrix-fed._tcp.example.org"] = [SrvRecord(0, 0, 0, "")]
    with pytest.raises(SrvServiceRefused):
        await lookup.lookup("_matrix-fed._tcp.example.org")
