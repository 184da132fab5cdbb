"""The page for clients that know no way to log in, and what it relies on."""

from __future__ import annotations

import base64
import hashlib
import re

from server_kit import Server

from homeserver.testing import path_of


async def test_the_page_stands_by_itself_and_runs_nothing_else(server: Server) -> None:
    answer = await server.client.request("GET", "/_matrix/static/client/login/", query={"device_id": "GHTYAJCE"})
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/html")
    page, policy = answer.body.decode(), answer.headers["content-security-policy"]
    for tag in ("script", "style"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "window.matrixLogin.onLogin(response)" in page
    assert "http" not in re.sub(r"https?-equiv", "", page)
    assert "device_id" in page


async def test_sending_without_a_transaction_sends_each_time(server: Server) -> None:
    (alice,) = await server.users("alice")
    room_id = await alice.create_room()
    path = path_of("rooms", room_id, "send", "m.room.message")
    sent = [(await alice.call("POST", path, {"msgtype": "m.text", "body": "hi"}))["event_id"] for _ in range(2)]
    assert len(set(sent)) == 2
