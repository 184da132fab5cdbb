"""Backups of room keys: encrypted by the client, opaque to the server but for what decides which key is better.

Versions are numbered for each user; a deleted one stays as a mark until there is a newer one.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, LargeBinary, Table, Text, false, text

from homeserver.storage.tables.metadata import metadata

key_backups = Table(
    "key_backups",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("algorithm", Text, nullable=False),
    Column("auth_data", LargeBinary, nullable=False),
    Column("etag", BigInteger, nullable=False, server_default=text("0")),
    Column("key_count", BigInteger, nullable=False, server_default=text("0")),
    Column("deleted", Boolean, nullable=False, server_default=false()),
)

key_backup_sessions = Table(
    "key_backup_sessions",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("room_id", Text, primary_key=True),
    Column("session_id", Text, primary_key=True),
    Column("first_message_index", BigInteger, nullable=False),
    Column("forwarded_count", BigInteger, nullable=False),
    Column("is_verified", Boolean, nullable=False),
    Column("session_data", LargeBinary, nullable=False),
)
