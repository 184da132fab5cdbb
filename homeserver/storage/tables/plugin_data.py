"""What plugins keep: their key-value pairs, and how often things that run out were used.

Each row belongs to one plugin, by its name in the settings.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text

from homeserver.storage.tables.metadata import metadata

plugin_data = Table(
    "plugin_data",
    metadata,
    Column("plugin", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),  # JSON
    Column("expires_ms", BigInteger),
)
Index("ix_plugin_data_expires_ms", plugin_data.c.expires_ms)

plugin_uses = Table(
    "plugin_uses",
    metadata,
    Column("plugin", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("uses", Integer, nullable=False),
)
