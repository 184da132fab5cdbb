"""The counter every durable change takes its position from, and how far each follower has read.

One row of `positions` is the whole ordering of the log; its row lock makes commit order equal position order.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Table, Text

from homeserver.storage.tables.metadata import metadata

positions = Table(
    "positions",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

follower_positions = Table(
    "follower_positions",
    metadata,
    Column("follower", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
)

server_settings = Table(
    "server_settings",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
