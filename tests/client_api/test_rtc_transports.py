"""The media servers for group calls, from the settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from server_kit import running_server, settings_for

PATH = "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports"
LIVEKIT = {"type": "livekit", "livekit_service_url": "https://livekit.example.org"}


async def test_they_are_told_to_whoever_is_logged_in(tmp_path: Path) -> None:
    async with running_server(tmp_path, calls={"rtc_transports": [LIVEKIT]}) as server:
        alice = await server.user("alice")
        answer = await alice.client.request("GET", PATH)
        assert (answer.status, answer.json) == (200, {"rtc_transports": [LIVEKIT]})
        assert (await server.client.request("GET", PATH)).status == 401
        well_known = (await server.client.request("GET", "/.well-known/matrix/client")).json
        assert well_known["org.matrix.msc4143.rtc_foci"] == [LIVEKIT]
        versions = (await server.client.request("GET", "/_matrix/client/versions")).json
        assert versions["unstable_features"]["org.matrix.msc4143"] is True


async def test_without_any_clients_are_sent_elsewhere(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server:
        alice = await server.user("alice")
        answer = await alice.client.request("GET", PATH)
        assert (answer.status, answer.json["errcode"]) == (404, "M_UNRECOGNIZED")
        versions = (await server.client.request("GET", "/_matrix/client/versions")).json
        assert versions["unstable_features"]["org.matrix.msc4143"] is False


def test_a_transport_needs_a_type(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs a `type`"):
        settings_for(tmp_path, calls={"rtc_transports": [{"url": "https://livekit.example.org"}]})
