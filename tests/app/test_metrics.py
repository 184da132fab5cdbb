"""What monitoring sees."""

from __future__ import annotations

from pathlib import Path

from server_kit import running_server

from homeserver.testing import AsgiClient


async def test_metrics_are_served_where_a_listener_says_so(tmp_path: Path) -> None:
    listeners = [{"port": 0, "resources": ["client", "metrics"]}, {"port": 0}]
    async with running_server(tmp_path, listeners=listeners) as server:
        alice = await server.user("alice")
        await alice.say(await alice.create_room(), "counted")
        page = (await server.client.get("/metrics")).body.decode()
        figures = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
        assert float(figures["starling_log_position"]) > 5
        assert float(figures["starling_cache_rooms_entries"]) == 1
        assert float(figures['starling_http_answers_total{operation="sendMessage",status="200"}']) == 1
        assert (await server.client.get("/health")).body == b"OK"
        other = AsgiClient(server.homeserver.asgi(server.homeserver.settings.listeners[1]))
        assert (await other.get("/metrics")).status == 404
