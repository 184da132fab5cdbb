"""Measurements of what a server process spends on operations.

CPU time is the figure that holds on a shared machine; latencies are only indicative.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from server_process import ServerProcess


@dataclass
class Figures:
    """What one scenario cost."""

    name: str
    operations: int
    cpu_ms: float
    latencies_ms: list[float]
    seconds: float

    @property
    def per_operation(self) -> float:
        """CPU milliseconds."""
        return self.cpu_ms / max(1, self.operations)

    @property
    def p99_ms(self) -> float:
        times = sorted(self.latencies_ms) or [0.0]
        return times[min(len(times) - 1, int(len(times) * 0.99))]

    def row(self) -> str:
        times = sorted(self.latencies_ms) or [0.0]
        p50, p99 = times[len(times) // 2], self.p99_ms
        rate = self.operations / self.seconds if self.seconds else 0.0
        return f"{self.name:<58}{self.operations:>8}{self.per_operation:>11.3f}{p50:>10.1f}{p99:>10.1f}{rate:>10.0f}"


HEADER = f"{'scenario':<58}{'ops':>8}{'CPU ms/op':>11}{'p50 ms':>10}{'p99 ms':>10}{'per s':>10}"


async def measure(
    server: ServerProcess, name: str, jobs: Sequence[Callable[[], Awaitable[Any]]], at_once: int
) -> Figures:
    """Run all jobs, `at_once` of them side by side, and see what they cost the server."""
    waiting = list(jobs)[::-1]
    latencies: list[float] = []

    async def work() -> None:
        while waiting:
            job = waiting.pop()
            started = time.perf_counter()
            await job()
            latencies.append((time.perf_counter() - started) * 1000)

    before, started = server.cpu_ms(), time.perf_counter()
    await asyncio.gather(*(work() for _ in range(at_once)))
    return Figures(name, len(jobs), server.cpu_ms() - before, latencies, time.perf_counter() - started)
