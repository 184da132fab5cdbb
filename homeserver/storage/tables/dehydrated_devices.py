"""The dehydrated device of a user: one that nobody holds, whose private part its owner has encrypted."""

from __future__ import annotations

from sqlalchemy import Column, LargeBinary, Table, Text

from homeserver.storage.tables.metadata import metadata

dehydrated_devices = Table(
    "dehydrated_devices",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("device_id", Text, nullable=False),
    Column("device_data", LargeBinary, nullable=False),  # JSON
)
