"""heisenbridge, an IRC bridge that others have written, between this server and a real IRC network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
from interop.bridge_packages import bridge_python
from interop.irc_network import IrcUser, irc_network
from interop.programs import running_program, until, until_listening
from server_process import Client, ServerProcess, free_port, make_client

BOT = "@heisenbridge:localhost"


def write_registration(path: Path, port: int) -> None:
    """As `heisenbridge --generate` writes it."""
    registration = {
        "id": "heisenbridge",
        "url": f"http://127.0.0.1:{port}",
        "as_token": "as",
        "hs_token": "hs",
        "rate_limited": False,
        "sender_localpart": "heisenbridge",
        "namespaces": {
            "users": [
                {"regex": "@hbirc_.*", "exclusive": True},
                {"regex": "@heisenbridge:.*", "exclusive": True},
            ],
            "aliases": [],
            "rooms": [],
        },
    }
    path.write_bytes(orjson.dumps(registration))


@asynccontextmanager
async def running_bridge(folder: Path, server: ServerProcess, port: int) -> AsyncIterator[None]:
    command = [bridge_python(), "-m", "heisenbridge", "-v", "-c", str(folder / "bridge.yaml"), "-l", "127.0.0.1"]
    command += ["-p", str(port), server.url]
    async with running_program(command, folder / "bridge.log"):
        await until_listening(port)
        yield


class Person:
    """Somebody on the Matrix side, who accepts every invitation."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.said: dict[str, list[tuple[str, str]]] = {}
        self.rooms: list[str] = []

    async def create_room_with(self, user_id: str) -> str:
        body = {"invite": [user_id], "is_direct": True, "preset": "trusted_private_chat"}
        return str((await self._client.call("POST", "/createRoom", body))["room_id"])

    async def say(self, room_id: str, text: str) -> None:
        await self._client.send(room_id, text)

    async def look(self) -> None:
        news = (await self._client.sync(timeout_ms=200)).get("rooms", {})
        for room_id in news.get("invite", {}):
            await self._client.call("POST", f"/join/{quote(room_id)}", {})
        for room_id, room in news.get("join", {}).items():
            if room_id not in self.rooms:
                self.rooms.append(room_id)
            for event in room["timeline"]["events"]:
                if event["type"] == "m.room.message":
                    text = str(event["content"].get("body"))
                    self.said.setdefault(room_id, []).append((event["sender"], text))

    async def hears(self, room_id: str, text: str) -> str:
        """Who said something with `text` in it in a room."""

        async def find() -> str | None:
            await self.look()
            return next((sender for sender, said in self.said.get(room_id, ()) if text in said), None)

        try:
            return str(await until(find))
        except TimeoutError as error:
            error.add_note(f"--- waited for {text!r} among {self.said.get(room_id)}")
            raise

    async def is_connected(self, network: str) -> None:
        """Ask until the bridge says so."""

        async def find() -> bool:
            await self.say(network, "STATUS")
            await self.look()
            return any("Connected for" in said for _, said in self.said.get(network, ()))

        await until(find)

    async def new_room(self, known: set[str]) -> str:
        """The room that somebody has invited to."""

        async def find() -> str | None:
            await self.look()
            return next((room_id for room_id in self.rooms if room_id not in known), None)

        return str(await until(find))

    async def sees_member(self, room_id: str, user_id: str) -> Any:
        async def find() -> Any:
            members = await self._client.call("GET", f"/rooms/{quote(room_id)}/joined_members")
            return members["joined"].get(user_id)

        return await until(find)


async def test_messages_go_both_ways(tmp_path: Path) -> None:
    port = free_port()
    write_registration(tmp_path / "bridge.yaml", port)
    sections = {"application_services": ["bridge.yaml"]}
    server = ServerProcess(tmp_path, sections=sections)
    try:
        await server.start()
        async with irc_network(tmp_path) as irc_port, aiohttp.ClientSession() as session:
            await _converse(tmp_path, server, session, port, irc_port)
    finally:
        server.stop()
    assert "Traceback" not in server.log.read_text()


async def _converse(
    folder: Path, server: ServerProcess, session: aiohttp.ClientSession, port: int, irc_port: int
) -> None:
    alice = Person(await make_client(server.url, session, "alice"))
    bob = IrcUser("bob")
    await bob.connect(irc_port)
    bob.send("JOIN #garden")
    # The bridge is started after it was invited: what happened meanwhile waits for it.
    control = await alice.create_room_with(BOT)
    async with running_bridge(folder, server, port):
        await alice.sees_member(control, BOT)
        await alice.say(control, "ADDNETWORK test")
        await alice.hears(control, "Network added")
        await alice.say(control, f"ADDSERVER test 127.0.0.1 {irc_port}")
        await alice.hears(control, "Server added")
        known = set(alice.rooms)
        await alice.say(control, "OPEN test")
        network = await alice.new_room(known)
        await alice.sees_member(network, BOT)
        await alice.say(network, "NICK alice_")
        await alice.say(network, "CONNECT")
        await alice.is_connected(network)
        known = set(alice.rooms)
        await alice.say(network, "JOIN #garden")
        channel = await alice.new_room(known)

        bob.send("PRIVMSG #garden :the roses are out")
        assert await alice.hears(channel, "the roses are out") == "@hbirc_test_bob:localhost"
        await alice.say(channel, "and the tulips")
        assert (await bob.hears("and the tulips")).startswith(":alice_!")
        for number in range(10):
            bob.send(f"PRIVMSG #garden :rose {number}")
        await alice.hears(channel, "rose 9")
        # The bridge puts lines that come together into one message.
        said = [line for _, text in alice.said[channel] for line in text.splitlines() if line.startswith("rose ")]
        assert said == [f"rose {number}" for number in range(10)]
    await bob.close()
