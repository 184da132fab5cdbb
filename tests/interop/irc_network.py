"""An IRC network, run by ngIRCd, and somebody on it.

The IRC servers on the package index are too small for a bridge: they know neither CAP nor modes.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from interop.programs import PATIENCE_S, running_program, until_listening
from server_process import free_port

_NGIRCD = """\
[Global]
Name = irc.localhost
Info = a network for tests
Listen = 127.0.0.1
Ports = {port}
ServerUID = {user}
ServerGID = {group}
[Options]
Ident = no
PAM = no
DNS = no
[Limits]
MaxConnectionsIP = 0
"""


@asynccontextmanager
async def irc_network(folder: Path) -> AsyncIterator[int]:
    """The port of a running IRC server."""
    ngircd = shutil.which("ngircd") or shutil.which("ngircd", path="/usr/sbin")
    if ngircd is None:
        pytest.skip("ngircd is not installed (Debian, Ubuntu: apt install ngircd)")
    port = free_port()
    config = folder / "ngircd.conf"
    config.write_text(_NGIRCD.format(port=port, user="nobody", group="nogroup"))
    async with running_program([ngircd, "-n", "-f", str(config)], folder / "irc.log"):
        await until_listening(port)
        yield port


class IrcUser:
    """Somebody with a plain IRC client. `lines` is everything the network has said, oldest first."""

    def __init__(self, nick: str) -> None:
        self.nick = nick
        self.lines: list[str] = []
        self._news = asyncio.Condition()
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None

    async def connect(self, port: int) -> None:
        reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
        self._reading = asyncio.create_task(self._read(reader))
        self.send(f"NICK {self.nick}")
        self.send(f"USER {self.nick} 0 * :{self.nick}")
        await self.hears(" 001 ")

    def send(self, line: str) -> None:
        assert self._writer is not None
        self._writer.write(f"{line}\r\n".encode())

    async def hears(self, text: str) -> str:
        """The first line with `text` in it."""
        async with self._news:
            async with asyncio.timeout(PATIENCE_S):
                await self._news.wait_for(lambda: any(text in line for line in self.lines))
        return next(line for line in self.lines if text in line)

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        if self._writer is not None:
            self._writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while raw := await reader.readline():
            line = raw.decode(errors="replace").rstrip()
            if line.startswith("PING"):
                self.send("PONG" + line[4:])
            async with self._news:
                self.lines.append(line)
                self._news.notify_all()
