"""Metrics: counted, kept by label, rendered for Prometheus; and the page that shows them."""

import pytest

from homeserver.runtime.metrics import Metrics
from homeserver.testing import AsgiClient
from homeserver.web.app import build_asgi
from homeserver.web.endpoint import routes_of
from homeserver.web.metrics_page import HttpFigures, MetricsPage
from homeserver.web.request import Request
from homeserver.web.requester import Requester


async def test_all_kinds() -> None:
    metrics = Metrics()
    metrics.counter("events", "Events.").inc(3)
    family = metrics.counters("answers", "Answers.", ("status",))
    family.child("200").inc()
    family.child("200").inc()
    assert family.child("200") is family.child("200")
    metrics.gauge("rooms", "Rooms.").set(7)
    metrics.gauges("sizes", "Sizes.", ("cache",)).child("events").set(8)
    metrics.gauge_of("lag", "Lag.", lambda: 1.5)
    metrics.histogram("waits", "Waits.").observe(0.01)
    metrics.histograms("seconds", "Seconds.", ("operation",)).child("sync").observe(0.2)
    text = (await metrics.render()).decode()
    for line in (
        "starling_events_total 3.0",
        'starling_answers_total{status="200"} 2.0',
        "starling_rooms 7.0",
        'starling_sizes{cache="events"} 8.0',
        "starling_lag 1.5",
        'starling_waits_bucket{le="0.025"} 1.0',
        'starling_seconds_count{operation="sync"} 1.0',
        "python_info",
    ):
        assert line in text


def test_a_name_can_be_taken_once_a_server() -> None:
    metrics = Metrics()
    metrics.counter("events", "Events.")
    with pytest.raises(ValueError, match="Duplicated"):
        metrics.counter("events", "Events.")
    Metrics().counter("events", "Events.")


class Nobody:
    async def authenticate(self, token: str, request: Request) -> Requester:
        raise NotImplementedError

    def check(self, bucket: str, requester: Requester | None, address: str) -> None:
        raise NotImplementedError


async def test_the_page_and_the_figures_of_http() -> None:
    metrics = Metrics()
    app = build_asgi(routes_of(MetricsPage(metrics)), Nobody(), Nobody(), observe_answer=HttpFigures(metrics).observe)
    client = AsgiClient(app)
    await client.get("/health")
    await client.get("/nowhere")
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert b'starling_http_answers_total{operation="/health",status="200"} 1.0' in answer.body
    assert b'starling_http_answers_total{operation="none",status="404"} 1.0' in answer.body
    assert b'starling_http_seconds_count{operation="/health"} 1.0' in answer.body
