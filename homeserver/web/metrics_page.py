"""`/metrics` for Prometheus, and the figures of the HTTP side: answers and seconds by operation.
Mount it only on listeners with the resource `metrics`.
"""

from starlette.responses import Response

from homeserver.runtime.metrics import CONTENT_TYPE, Metrics
from homeserver.web.endpoint import Auth, Route, endpoint
from homeserver.web.request import Request


class MetricsPage:
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    @endpoint("GET", "/metrics", auth=Auth.NONE)
    async def metrics(self, request: Request) -> Response:
        return Response(await self._metrics.render(), headers={"content-type": CONTENT_TYPE})


class HttpFigures:
    """Counts answers; `observe` is an `AnswerObserver`."""

    def __init__(self, metrics: Metrics) -> None:
        self._answers = metrics.counters("http_answers", "Answers by operation and status.", ("operation", "status"))
        self._seconds = metrics.histograms("http_seconds", "Time to the end of an answer.", ("operation",))

    def observe(self, route: Route | None, method: str, status: int, seconds: float) -> None:
        operation = "none" if route is None else route.spec.operation or route.path
        self._answers.child(operation, str(status)).inc()
        self._seconds.child(operation).observe(seconds)
