"""A bridge on mautrix-python, the library of most bridges in the field: a bot, a puppet, and everything it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
from interop.bridge_packages import SCRIPTS, bridge_python
from interop.programs import running_program, until, until_listening
from server_process import Client, ServerProcess, free_port, make_client

BOT = "@mbot:localhost"
PUPPET = "@m_puppet:localhost"


def registration(port: int) -> dict[str, Any]:
    """As mautrix bridges generate it."""
    return {
        "id": "mautrix",
        "url": f"http://127.0.0.1:{port}",
        "as_token": "as",
        "hs_token": "hs",
        "sender_localpart": "mbot",
        "rate_limited": False,
        "namespaces": {
            "users": [
                {"regex": "^@m_.*:localhost$", "exclusive": True},
                {"regex": "^@mbot:localhost$", "exclusive": True},
            ],
            "aliases": [],
            "rooms": [],
        },
        "de.sorunome.msc2409.push_ephemeral": True,
        "push_ephemeral": True,
        "receive_ephemeral": True,
        "org.matrix.msc3202": True,
        "io.element.msc4190": True,
    }


async def test_a_bridge_with_puppets(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "registration.yaml").write_bytes(orjson.dumps(registration(port)))
    sections = {"application_services": ["registration.yaml"], "presence": {"enabled": True}}
    server = ServerProcess(tmp_path, sections=sections)
    command = [bridge_python(), str(SCRIPTS / "mautrix_bridge.py"), server.url, str(port)]
    try:
        await server.start()
        async with aiohttp.ClientSession() as session, running_program(command, tmp_path / "mautrix.log"):
            await until_listening(port)
            await _converse(await make_client(server.url, session, "alice"), session, tmp_path / "mautrix.log")
    finally:
        server.stop()
    assert "Traceback" not in server.log.read_text()
    assert "Traceback" not in (tmp_path / "mautrix.log").read_text()


async def _converse(alice: Client, session: aiohttp.ClientSession, log: Path) -> None:
    async def told(kind: str, **wanted: Any) -> Any:
        """What the bridge has told of itself."""

        async def find() -> Any:
            lines = [line for line in log.read_text().splitlines() if line.startswith("{")]
            notes = [orjson.loads(line) for line in lines]
            return next((one for one in notes if one["kind"] == kind and wanted.items() <= one.items()), None)

        return await until(find)

    assert (await told("whoami"))["user_id"] == BOT
    assert (await told("ping"))["duration_ms"] >= 0
    room_id = (await alice.call("POST", "/createRoom", {"invite": [BOT], "preset": "trusted_private_chat"}))["room_id"]
    seen: list[Any] = []

    async def sees(event_type: str, sender: str | None = None) -> Any:
        async def find() -> Any:
            room = (await alice.sync(timeout_ms=200)).get("rooms", {}).get("join", {}).get(room_id)
            if room is not None:
                seen.extend([*room["timeline"]["events"], *room["ephemeral"]["events"]])
            matching = (one for one in seen if one["type"] == event_type and one.get("sender", sender) == sender)
            return next((one for one in matching if one["type"] != "m.typing" or one["content"]["user_ids"]), None)

        return await until(find)

    member = await sees("m.room.member", PUPPET)
    assert (member["state_key"], member["content"]["displayname"]) == (PUPPET, "Puppet")
    assert (await sees("m.typing"))["content"]["user_ids"] == [PUPPET]
    sent = await alice.send(room_id, "hello")
    echo = await sees("m.room.message", PUPPET)
    assert (echo["content"]["body"], echo["origin_server_ts"]) == ("echo: hello", 1_234_567_890_000)
    assert PUPPET in (await sees("m.receipt"))["content"][sent]["m.read"]

    room = quote(room_id)
    await alice.call("PUT", f"/rooms/{room}/typing/{alice.user_id}", {"typing": True, "timeout": 5_000})
    await told("event", type="m.typing", room_id=room_id)
    await alice.call("POST", f"/rooms/{room}/receipt/m.read/{echo['event_id']}", {})
    await told("event", type="m.receipt", room_id=room_id)
    await alice.call("PUT", f"/presence/{alice.user_id}/status", {"presence": "unavailable"})
    await told("event", type="m.presence", sender=alice.user_id)

    # A device without a login, as bridges with encryption make it, and a message to it.
    bridge = {"Authorization": "Bearer as"}
    url = f"{alice.server}/_matrix/client/v3/devices/BRIDGE"
    async with session.put(url, json={"display_name": "the bridge"}, headers=bridge) as answer:
        assert answer.status == 201
    messages = {"messages": {BOT: {"BRIDGE": {"secret": 1}}}}
    await alice.call("PUT", "/sendToDevice/m.dummy/1", messages)
    message = await told("to_device", sender=alice.user_id)
    assert (message["content"], message["device"]) == ({"secret": 1}, "BRIDGE")
    await told("otk", users={BOT: ["BRIDGE"]})
