"""What users reported to the server's administrators.

Kept until an administrator has dealt with it, or its time is up.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Table, Text

from homeserver.storage.tables.metadata import RowNumber, metadata

reports = Table(
    "reports",
    metadata,
    Column("nid", RowNumber, primary_key=True, autoincrement=True),
    Column("reporter", Text, nullable=False),
    # One of the three says what is reported; an event comes with its room.
    Column("room_id", Text),
    Column("event_id", Text),
    Column("user_id", Text),
    Column("reason", Text),
    Column("created_ms", BigInteger, nullable=False, index=True),
)
