"""Other servers as destinations: when to try them again, and how far each has been sent what it is to get.

An event writes one row whatever the number of servers: sets of servers are kept once and named by number.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Table, Text

from homeserver.storage.tables.metadata import RowNumber, metadata

back_offs = Table(
    "destination_back_offs",
    metadata,
    Column("server_name", Text, primary_key=True),
    Column("failing_since_ms", BigInteger, nullable=False),
    Column("pause_ms", BigInteger, nullable=False),
    Column("retry_at_ms", BigInteger, nullable=False),
)

destinations = Table(
    "destinations",
    metadata,
    Column("server_name", Text, primary_key=True),
    Column("events_position", BigInteger, nullable=False),  # events up to here have arrived
    Column("edus_position", BigInteger, nullable=False),  # and receipts up to here
    # The transaction under way, to be repeated as it is until it has arrived.
    Column("transaction_id", Text),
    Column("transaction_events_position", BigInteger),
    Column("transaction_edus_position", BigInteger),
    Column("transaction_body", LargeBinary),  # JSON: origin_server_ts, row numbers of the events, EDUs
)

server_sets = Table(
    "server_sets",
    metadata,
    Column("nid", RowNumber, primary_key=True, autoincrement=True),
    Column("sha256", LargeBinary, nullable=False, unique=True),
)

server_set_members = Table(
    "server_set_members",
    metadata,
    Column("server_name", Text, primary_key=True),
    Column("set_nid", BigInteger, primary_key=True, autoincrement=False),
    Index("ix_server_set_members_set", "set_nid"),
)

outbound_events = Table(
    "outbound_events",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("event_nid", BigInteger, nullable=False),
    Column("room_nid", BigInteger, nullable=False),
    Column("set_nid", BigInteger, nullable=False),
    Index("ix_outbound_events_set", "set_nid", "position"),
)

events_to_relay = Table(
    "events_to_relay",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("noted_ms", BigInteger, nullable=False, index=True),
)

outbound_edus = Table(
    "outbound_edus",
    metadata,
    Column("server_name", Text, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("edu", LargeBinary, nullable=False),  # JSON
    Column("queued_ms", BigInteger, nullable=False, index=True),
)

device_lists_sent = Table(
    "device_lists_sent",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("stream_id", BigInteger, nullable=False),  # of the last update that went out, the next one's prev_id
)
