"""The command line, as an admin meets it."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner
from server_process import ServerProcess, make_client

from homeserver.cli import main
from homeserver_config.reader import read_settings


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def homeserver(*arguments: str, text: str | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(main, list(arguments), input=text)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_a_generated_file_is_a_good_one(in_an_empty_folder: Path) -> None:
    assert homeserver("generate-config", "example.org")[0] == 0
    written = in_an_empty_folder / "homeserver.yaml"
    assert read_settings(written, {}).server.server_name == "example.org"
    assert homeserver("check-config") == (0, "The settings are fine. This server is example.org.\n")
    status, said = homeserver("generate-config", "example.com")
    assert status == 1
    assert "is there already" in said
    assert "example.org" in written.read_text()


def test_a_name_that_cannot_be_a_server_is_refused(in_an_empty_folder: Path) -> None:
    status, said = homeserver("generate-config", "not a name")
    assert status == 1
    assert "server.server_name" in said
    assert not (in_an_empty_folder / "homeserver.yaml").exists()


def test_every_mistake_is_told_with_its_line(in_an_empty_folder: Path) -> None:
    (in_an_empty_folder / "homeserver.yaml").write_text("server:\n  server_nam: x\ndatabase:\n  pool_size: none\n")
    status, said = homeserver("check-config")
    assert status == 1
    assert "homeserver.yaml:2: server.server_nam" in said
    assert "server_name" in said
    assert "homeserver.yaml:4: database.pool_size" in said


def test_an_account_is_made_without_a_running_server() -> None:
    status, said = homeserver("create-user", "alice", "--admin", text="a good password\na good password\n")
    assert status == 0, said
    assert "Made @alice:localhost." in said
    status, said = homeserver("create-user", "alice", "--password", "a good password")
    assert status == 1
    assert "taken" in said or "in use" in said
    status, said = homeserver("create-user", "bob", "--password", "short")
    assert status == 1
    assert "8" in said


def test_help_names_every_command() -> None:
    status, said = homeserver("--help")
    assert status == 0
    assert all(command in said for command in ("run", "check-config", "generate-config", "create-user"))


async def test_a_stop_lets_requests_finish(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path)
    await server.start()
    async with aiohttp.ClientSession() as session:
        alice = await make_client(server.url, session, "alice")
        await alice.sync()
        waiting = asyncio.create_task(alice.sync(30_000))
        await asyncio.sleep(0.2)
        server.signal(signal.SIGTERM)
        body = await asyncio.wait_for(waiting, 5)
        assert "next_batch" in body
    assert await server.ended(10) == 0
    await server.start()
    server.stop()
