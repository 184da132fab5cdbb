"""Connections of sliding sync: one row each, and what each of their answers added to what the client has.

A connection is the sum of its steps; all but the last are merged from time to time.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, LargeBinary, Table, Text, UniqueConstraint

from homeserver.storage.tables.metadata import RowNumber, metadata

sliding_connections = Table(
    "sliding_connections",
    metadata,
    Column("nid", RowNumber, primary_key=True, autoincrement=True),
    Column("user_id", Text, nullable=False),
    Column("device_id", Text, nullable=False),  # "" for sessions without a device
    Column("name", Text, nullable=False),  # the client's `conn_id`
    Column("used_ms", BigInteger, nullable=False, index=True),
    UniqueConstraint("user_id", "device_id", "name", name="uq_sliding_connections"),
    sqlite_autoincrement=True,  # a number is part of tokens, and never comes back
)

sliding_steps = Table(
    "sliding_steps",
    metadata,
    Column("connection_nid", BigInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("changes", LargeBinary, nullable=False),  # JSON
)
