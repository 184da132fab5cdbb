"""What can be found by its words. The full-text index over it is each database's own, made by the migration.

SQLite: the FTS5 table `search_words`. PostgreSQL: a GIN index over the terms.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, SmallInteger, Table, Text

from homeserver.storage.tables.metadata import RowNumber, metadata

search_entries = Table(
    "search_entries",
    metadata,
    Column("event_nid", RowNumber, primary_key=True, autoincrement=False),
    Column("room_nid", BigInteger, nullable=False, index=True),
    # What was indexed: 0 a body, 1 a room's name, 2 its topic.
    Column("kind", SmallInteger, nullable=False),
    # Terms between spaces, and one for the room.
    Column("terms", Text, nullable=False),
)
