"""Reads the refused events of a room from the database, beside a running server or without one."""

from __future__ import annotations

from collections.abc import Sequence

from homeserver.app.storage import build_database
from homeserver.storage.events import StoredEvent
from homeserver.storage.refused_events import find_refused_events
from homeserver_config.settings import Settings


async def load_refused(settings: Settings, room_id: str, most: int) -> Sequence[StoredEvent] | None:
    """The rejected and soft-failed events of a room, newest first; None for a room that is not known."""
    database = build_database(settings)
    await database.open()
    try:
        return await database.read(find_refused_events, room_id, most)
    finally:
        await database.close()
