"""`homeserver storage report`, on a server with something in it."""

from __future__ import annotations

from pathlib import Path

from server_kit import Server, running_server, settings_for

from homeserver.app.storage_report import as_text, report
from homeserver.storage.storage_report import load_room_sizes, load_table_sizes


async def test_it_names_tables_rooms_and_users(tmp_path: Path) -> None:
    url = {"url": f"sqlite:///{tmp_path / 'test.db'}"}
    async with running_server(tmp_path) as server:
        (alice,) = await server.users("alice")
        room_id = await alice.create_room(name="Large")
        for number in range(5):
            await alice.say(room_id, f"{number}" * 100)
    lines = await report(settings_for(tmp_path, database=url), 40)
    text = "\n".join(lines)
    assert "events" in text
    (room,) = [line for line in lines if room_id in line]
    assert "Large" in room
    assert "1 members" in room
    assert lines[-1] == "  none"


async def test_sizes_on_each_database(server: Server) -> None:
    (alice,) = await server.users("alice")
    room_id = await alice.create_room()
    tables = {table.name: table for table in await server.homeserver.database.read(load_table_sizes)}
    assert tables["events"].rows >= 6
    assert (tables["events"].size or 0) > 4_000
    (room,) = await server.homeserver.database.read(load_room_sizes, 10)
    assert (room.room_id, room.events, room.size > 1_000) == (room_id, tables["events"].rows, True)


def test_sizes_are_readable() -> None:
    assert [as_text(size) for size in (None, 5, 1_500, 2_400_000_000)] == ["?", "5 B", "1.5 kB", "2.4 GB"]
