"""Figures for Prometheus: families whose children are kept, because looking a child up costs more than counting.
One `Metrics` object per server, with a registry of its own; nothing is global.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_LATEST
_Metric = TypeVar("_Metric", Counter, Gauge, Histogram)
_SECONDS = (0.005, 0.025, 0.1, 0.5, 2.5, 10.0)


class Family(Generic[_Metric]):
    """Children of one metric by their labels' values. Keep the values few: ids and names do not belong here."""

    __slots__ = ("_children", "_metric")

    def __init__(self, metric: _Metric) -> None:
        self._metric: _Metric = metric
        self._children: dict[tuple[str, ...], _Metric] = {}

    def child(self, *values: str) -> _Metric:
        """The child with these labels, made on first use."""
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = self._metric.labels(*values)
        return child


class _Read(Collector):
    """Gauges that exist only while they are rendered."""

    def __init__(self, name: str, meaning: str, label: str, read: Callable[[], Mapping[str, float]]) -> None:
        self._name = name
        self._meaning = meaning
        self._label = label
        self._read = read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(self._name, self._meaning, labels=[self._label])
        for value, number in self._read().items():
            family.add_metric([value], number)
        yield family


class Metrics:
    """Makes metrics, and renders them all. Names get the prefix `starling_`; a name can be taken once."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def counter(self, name: str, meaning: str) -> Counter:
        return Counter(f"starling_{name}", meaning, registry=self._registry)

    def counters(self, name: str, meaning: str, labels: Sequence[str]) -> Family[Counter]:
        return Family(Counter(f"starling_{name}", meaning, labels, registry=self._registry))

    def gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(f"starling_{name}", meaning, registry=self._registry)

    def gauges(self, name: str, meaning: str, labels: Sequence[str]) -> Family[Gauge]:
        return Family(Gauge(f"starling_{name}", meaning, labels, registry=self._registry))

    def gauge_of(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """A gauge whose value is asked for when the metrics are rendered."""
        self.gauge(name, meaning).set_function(read)

    def gauges_of(self, name: str, meaning: str, label: str, read: Callable[[], Mapping[str, float]]) -> None:
        """Gauges by one label, asked for when the metrics are rendered. `read` bounds how many there are."""
        self._registry.register(_Read(f"starling_{name}", meaning, label, read))

    def histogram(self, name: str, meaning: str, buckets: Sequence[float] = _SECONDS) -> Histogram:
        return Histogram(f"starling_{name}", meaning, buckets=buckets, registry=self._registry)

    def histograms(
        self, name: str, meaning: str, labels: Sequence[str], buckets: Sequence[float] = _SECONDS
    ) -> Family[Histogram]:
        return Family(Histogram(f"starling_{name}", meaning, labels, buckets=buckets, registry=self._registry))

    async def render(self) -> bytes:
        """All metrics as Prometheus reads them (`CONTENT_TYPE`), rendered in a thread: it takes milliseconds."""
        return await asyncio.to_thread(generate_latest, self._registry)
