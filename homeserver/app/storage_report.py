"""`homeserver storage report`: says where the bytes are, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator

from homeserver.app.storage import build_database
from homeserver.storage.storage_report import load_room_sizes, load_table_sizes, load_user_sizes
from homeserver_config.settings import Settings

_UNITS = ("B", "kB", "MB", "GB", "TB")


async def report(settings: Settings, most: int) -> list[str]:
    """The report, with `most` rows of each kind. Works beside a running server."""
    database = build_database(settings)
    await database.open()
    try:
        tables = await database.read(load_table_sizes)
        rooms = await database.read(load_room_sizes, most)
        users = await database.read(load_user_sizes, most)
    finally:
        await database.close()
    total = sum(table.size or 0 for table in tables)
    lines = [f"Tables, with their indexes: {as_text(total) if total else 'this database does not tell sizes'}"]
    lines += _columns(
        (table.name, f"{table.rows:,} rows", as_text(table.size)) for table in tables[:most] if table.rows
    )
    lines += ["", "Rooms, by the bytes of their events:"]
    lines += _columns(
        (room.room_id, room.name or "-", f"{room.members:,} members", f"{room.events:,} events", as_text(room.size))
        for room in rooms
    )
    lines += ["", "Users, by the media they uploaded:"]
    lines += _columns((user.user_id, f"{user.files:,} files", as_text(user.size)) for user in users)
    return lines


def as_text(size: int | None) -> str:
    """1234567 → "1.2 MB"."""
    if size is None:
        return "?"
    value = float(size)
    for unit in _UNITS:
        if value < 1000 or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("the last unit takes everything")


def _columns(rows: Iterator[tuple[str, ...]]) -> list[str]:
    table = list(rows)
    if not table:
        return ["  none"]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    ]
