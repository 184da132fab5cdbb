"""Homeservers in processes of their own that federate over TLS on loopback; a server's name is its address and port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
from federation.certificates import Authority
from server_process import SECRET, ServerProcess, free_port


class FederatedProcess(ServerProcess):
    """Clients are served on `port`, other servers on that of `name`."""

    def __init__(self, folder: Path, authority: Authority, **sections: Any) -> None:
        folder.mkdir(exist_ok=True)
        federation_port, client_port = free_port(), free_port()
        self.name = f"127.0.0.1:{federation_port}"
        authority.context_for("127.0.0.1")
        certificate = str(authority.path.parent / "127.0.0.1.pem")
        tls = {"tls_certificate": certificate, "tls_key": certificate, "resources": ["federation"]}
        super().__init__(
            folder,
            sections={
                "server": {"server_name": self.name, "data_directory": str(folder / "data")},
                "listeners": [
                    {"bind_address": "127.0.0.1", "port": client_port},
                    {"bind_address": "127.0.0.1", "port": federation_port, **tls},
                ],
                "registration": {"mode": "open", "shared_secret": SECRET},
                "federation": {
                    "ca_certificates": [str(authority.path)],
                    "trusted_key_servers": [],
                    "retry_at_first": "200ms",
                    "retry_at_most": "2s",
                },
                "outgoing": {"ip_ranges_allowed": ["127.0.0.0/8"]},
                **sections,
            },
        )
        self.port = client_port


Pair: TypeAlias = tuple[FederatedProcess, FederatedProcess, aiohttp.ClientSession]


@asynccontextmanager
async def two_processes(
    folder: Path,
) -> AsyncIterator[tuple[FederatedProcess, FederatedProcess, aiohttp.ClientSession]]:
    """Two of them, and a session to call them with."""
    authority = Authority(folder)
    servers = [FederatedProcess(folder / name, authority) for name in ("one", "other")]
    try:
        for server in servers:
            await server.start()
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=120)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=600)) as session:
            yield servers[0], servers[1], session
    finally:
        for server in servers:
            server.stop()
