"""Events that are to be sent later, and for a while what became of them.

A row is scheduled until it has `finalised_ms`.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Table, Text, UniqueConstraint

from homeserver.storage.tables.metadata import metadata

delayed_events = Table(
    "delayed_events",
    metadata,
    Column("delay_id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("transaction_key", Text),  # how the sender named the request
    Column("room_id", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("state_key", Text),
    Column("content", LargeBinary, nullable=False),  # JSON
    Column("timestamp_ms", BigInteger),  # what an application service wants in `origin_server_ts`
    Column("delay_ms", BigInteger, nullable=False),
    Column("scheduled_ms", BigInteger, nullable=False),
    Column("due_ms", BigInteger),  # None once finalised
    Column("claimed_ms", BigInteger),  # since when somebody has been sending it
    Column("finalised_ms", BigInteger, index=True),
    Column("event_id", Text),
    Column("error", LargeBinary),  # JSON
    UniqueConstraint("user_id", "transaction_key", name="uq_delayed_events_transaction"),
    Index("ix_delayed_events_due_ms", "due_ms"),
    Index("ix_delayed_events_user_id", "user_id", "due_ms"),
)
