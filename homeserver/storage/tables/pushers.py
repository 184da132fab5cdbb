"""Pushers, and the notifications that wait for each of them.

A notification is a row until its transport has delivered it, so that a restart loses none.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
    true,
)

from homeserver.storage.tables.metadata import RowNumber, metadata

pushers = Table(
    "pushers",
    metadata,
    Column("pusher_nid", RowNumber, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("app_id", Text, nullable=False),
    Column("pushkey", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("app_display_name", Text, nullable=False),
    Column("device_display_name", Text, nullable=False),
    Column("lang", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),  # JSON
    Column("set_ms", BigInteger, nullable=False),
    Column("profile_tag", Text),
    Column("device_id", Text),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("retry_ms", BigInteger),
    Column("enabled", Boolean, nullable=False, server_default=true()),
    UniqueConstraint("user_id", "app_id", "pushkey"),
)
Index("ix_pushers_pushkey_app_id", pushers.c.pushkey, pushers.c.app_id)

push_queue = Table(
    "push_queue",
    metadata,
    Column("pusher_nid", BigInteger, primary_key=True),
    Column("position", BigInteger, primary_key=True),  # of the event
    Column("event_id", Text, nullable=False),
    Column("tweaks", LargeBinary, nullable=False),  # JSON
    Column("created_ms", BigInteger, nullable=False),
)
