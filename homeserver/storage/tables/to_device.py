"""Messages waiting for devices, and which sent messages were accepted already.

A message stays until its device has acknowledged it by syncing on.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, LargeBinary, Table, Text

from homeserver.storage.tables.metadata import metadata

to_device_messages = Table(
    "to_device_messages",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("device_id", Text, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False, index=True),
    Column("message", LargeBinary, nullable=False),  # JSON: type, sender, content
    Column("received_ms", BigInteger, nullable=False, index=True),
)

to_device_transactions = Table(
    "to_device_transactions",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("device_id", Text, primary_key=True),  # "" for senders without a device, such as those of other servers
    Column("event_type", Text, primary_key=True),
    Column("transaction_id", Text, primary_key=True),
    Column("received_ms", BigInteger, nullable=False, index=True),
)
