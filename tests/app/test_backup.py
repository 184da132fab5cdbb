"""`homeserver backup` and `homeserver restore`, as an admin meets them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner
from server_kit import running_server

from homeserver.cli import main
from homeserver.storage.sqlite import SqliteDatabase

SECTIONS: dict[str, Any] = {"plugins": [{"name": "media_disk"}]}


def run(command: str, folder: Path, copies: Path) -> tuple[int, str]:
    settings = {
        "server": {"server_name": "example.org", "data_directory": str(folder)},
        "database": {"url": f"sqlite:///{folder / 'test.db'}"},
        **SECTIONS,
    }
    file = copies.parent / f"{folder.name}.yaml"
    file.write_bytes(orjson.dumps(settings))
    result = CliRunner().invoke(main, [command, str(copies), "-c", str(file)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


async def homeserver(command: str, folder: Path, copies: Path) -> tuple[int, str]:
    return await asyncio.to_thread(run, command, folder, copies)


async def upload(user: Any, data: bytes) -> str:
    made = await user.client.post("/_matrix/media/v3/upload", body=data, headers={"content-type": "text/plain"})
    return "/_matrix/client/v1/media/download/" + str(made.json["content_uri"]).removeprefix("mxc://")


async def test_a_running_server_comes_back_elsewhere(tmp_path: Path) -> None:
    old, new, copies = tmp_path / "old", tmp_path / "new", tmp_path / "copies"
    old.mkdir()
    database = SqliteDatabase(old / "test.db")
    async with running_server(old, database, **SECTIONS) as server:
        alice = await server.user("alice")
        room = await alice.create_room()
        await alice.say(room, "kept")
        path = await upload(alice, b"first")
        status, said = await homeserver("backup", old, copies)
        assert status == 0, said
        assert "Backed up the signing key, the database and 1 files" in said
        second = await upload(alice, b"second")
        status, said = await homeserver("backup", old, copies)
        assert status == 0, said
        assert "1 files of media were there already" in said
    assert (copies.stat().st_mode & 0o077, (copies / "signing.key").stat().st_mode & 0o077) == (0, 0)

    status, said = await homeserver("restore", new, copies)
    assert status == 0, said
    assert "Restored the signing key, the database and 2 files" in said
    assert (new / "signing.key").read_bytes() == (old / "signing.key").read_bytes()
    async with running_server(new, SqliteDatabase(new / "test.db"), **SECTIONS) as server:
        alice = await server.user("alice")
        newest = (await alice.messages(room, dir="b"))["chunk"][0]
        assert newest["content"]["body"] == "kept"
        assert (await alice.client.get(path)).body == b"first"
        assert (await alice.client.get(second)).body == b"second"


@pytest.mark.parametrize("left", ["test.db", "signing.key"])
async def test_nothing_is_overwritten(tmp_path: Path, left: str) -> None:
    old, new, copies = tmp_path / "old", tmp_path / "new", tmp_path / "copies"
    old.mkdir()
    new.mkdir()
    async with running_server(old, **SECTIONS):
        assert (await homeserver("backup", old, copies))[0] == 0
    (new / left).write_text("precious")
    status, said = await homeserver("restore", new, copies)
    assert status == 1
    assert "Move it away first" in said
    assert [path.name for path in new.iterdir()] == [left]
    assert (new / left).read_text() == "precious"


async def test_what_is_missing_or_damaged_is_said(tmp_path: Path) -> None:
    folder, copies = tmp_path / "server", tmp_path / "copies"
    folder.mkdir()
    status, said = await homeserver("backup", folder, copies)
    assert (status, "has this server ever run" in said) == (1, True)
    assert not copies.exists()
    copies.mkdir()
    status, said = await homeserver("restore", folder, copies)
    assert (status, "holds no back-up" in said) == (1, True)
    (copies / "signing.key").write_text("ed25519 a_1 " + "A" * 43)
    (copies / "homeserver.db").write_bytes(b"no database at all" * 1_000)
    status, said = await homeserver("restore", folder, copies)
    assert (status, "cannot be copied" in said) == (1, True)
    assert list(folder.iterdir()) == []
