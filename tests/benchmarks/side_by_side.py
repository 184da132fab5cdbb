"""Starling and Synapse through the same scenarios, one after the other in one run, both on SQLite.

Usage: python -m benchmarks.side_by_side [--asgi uvicorn] [send] [deliver] [join] [sync]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from interop.synapse import SynapseProcess
from server_process import running_server

from benchmarks.chat import SCENARIOS
from benchmarks.harness import Figures

_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


class MeasuredSynapse(SynapseProcess):
    """A Synapse without federation, presence or limits, as fast as it comes, that can be measured."""

    def _settings(self, certificate: Path, authority: Path) -> dict[str, object]:
        settings = super()._settings(certificate, authority)
        for key in ("tls_certificate_path", "tls_private_key_path", "federation_custom_ca_list"):
            del settings[key]
        listener = {"bind_addresses": ["127.0.0.1"], "type": "http", "port": self.port}
        settings["listeners"] = [{**listener, "resources": [{"names": ["client"]}]}]
        settings["presence"] = {"enabled": False}
        return settings

    def cpu_ms(self) -> float:
        """User and system time of the process so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * _TICK_MS

    def rss_mb(self) -> float:
        """Resident memory."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))

    def database_bytes(self) -> int:
        """The database and its log."""
        return sum(path.stat().st_size for path in self.folder.glob("synapse.db*"))


@contextlib.asynccontextmanager
async def running_synapse() -> AsyncIterator[tuple[MeasuredSynapse, aiohttp.ClientSession]]:
    """A Synapse and a session to call it with."""
    with tempfile.TemporaryDirectory(prefix="synapse-") as folder:
        server = MeasuredSynapse(Path(folder), Path("none"), Path("none"))
        try:
            await server.start()
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=120)
            timeout = aiohttp.ClientTimeout(total=600)
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
                yield server, session
        finally:
            server.stop()


async def _run(server: Any, session: aiohttp.ClientSession, scenarios: list[str]) -> tuple[list[Figures], str]:
    at_start = server.rss_mb()
    figures = [one for name in scenarios for one in await SCENARIOS[name](server, session)]
    memory = f"RSS {at_start:.0f} MB at start, {server.rss_mb():.0f} MB after"
    return figures, f"{memory}; database {server.database_bytes() / 1e6:.1f} MB"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", choices=[*SCENARIOS, []], default=[])
    parser.add_argument("--asgi", choices=["hypercorn", "uvicorn"], default="hypercorn")
    arguments = parser.parse_args()
    scenarios = arguments.scenarios or ["send", "deliver"]
    async with running_server(asgi=arguments.asgi) as (starling, session):
        ours, our_sizes = await _run(starling, session, scenarios)
    async with running_synapse() as (synapse, session):
        theirs, their_sizes = await _run(synapse, session, scenarios)
    print(f"{'CPU ms per operation':<58}{'Starling':>10}{'Synapse':>10}{'ratio':>8}{'p99 ms':>10}{'p99 ms':>10}")
    for one, other in zip(ours, theirs, strict=True):
        print(
            f"{one.name:<58}{one.per_operation:>10.2f}{other.per_operation:>10.2f}"
            f"{other.per_operation / max(one.per_operation, 0.001):>7.1f}x{one.p99_ms:>10.1f}{other.p99_ms:>10.1f}"
        )
    print(f"Starling: {our_sizes}\nSynapse:  {their_sizes}")


if __name__ == "__main__":
    asyncio.run(main())
