"""Events, and what is looked up beside them: relations, redactions, transaction ids, mentions.

`event_id` is unique in `events` alone; every other table points at rows by number.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, LargeBinary, SmallInteger, Table, Text, false, text

from homeserver.storage.tables.metadata import RowNumber, metadata

events = Table(
    "events",
    metadata,
    # Taken from the log's counter: the event's position, unless it came as an outlier.
    Column("nid", RowNumber, primary_key=True, autoincrement=False),
    Column("event_id", Text, nullable=False, unique=True),
    Column("room_nid", BigInteger, nullable=False),
    # None for an outlier: known, but not part of the room's timeline. Negative for history fetched backwards.
    Column("position", BigInteger),
    Column("depth", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("state_key", Text),
    Column("sender", Text, nullable=False),
    Column("origin_server_ts", BigInteger, nullable=False),
    Column("standing", SmallInteger, nullable=False),
    Column("reason", Text),
    Column("state_before_nid", BigInteger),
    Column("state_after_nid", BigInteger),
    # The outcome of the predefined push rules for a member whom the event does not single out.
    Column("notify", SmallInteger, nullable=False, server_default=text("0")),
    Column("thread_root", Text),
    Column("redacted_by_nid", BigInteger),
    # Whether the content that a redaction took away is gone from `pdu` too.
    Column("stripped", Boolean, nullable=False, server_default=false()),
    Column("pdu", LargeBinary, nullable=False),
    Index("ix_events_room_position", "room_nid", "position"),
    Index("ix_events_room_depth", "room_nid", "depth", "position"),
    Index(
        "ix_events_redacted",
        "redacted_by_nid",
        sqlite_where=text("redacted_by_nid IS NOT NULL"),
        postgresql_where=text("redacted_by_nid IS NOT NULL"),
    ),
    Index(
        "ix_events_room_state",
        "room_nid",
        "type",
        "state_key",
        sqlite_where=text("state_key IS NOT NULL"),
        postgresql_where=text("state_key IS NOT NULL"),
    ),
)

event_relations = Table(
    "event_relations",
    metadata,
    Column("child_nid", BigInteger, primary_key=True),
    # By id, because a relation may arrive before the event it points at.
    Column("parent_event_id", Text, nullable=False),
    Column("room_nid", BigInteger, nullable=False),
    Column("rel_type", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("sender", Text, nullable=False),
    Column("aggregation_key", Text),
    Column("position", BigInteger, nullable=False),
    Column("depth", BigInteger, nullable=False),
    Index("ix_event_relations_parent", "parent_event_id", "rel_type", "depth", "position"),
    Index(
        "ix_event_relations_threads",
        "room_nid",
        "position",
        sqlite_where=text("rel_type = 'm.thread'"),
        postgresql_where=text("rel_type = 'm.thread'"),
    ),
)

redactions = Table(
    "redactions",
    metadata,
    Column("redaction_nid", BigInteger, primary_key=True),
    Column("redacts_event_id", Text, nullable=False, index=True),
)

transaction_ids = Table(
    "transaction_ids",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("device_id", Text, primary_key=True),
    Column("scope", Text, primary_key=True),
    Column("transaction_id", Text, primary_key=True),
    Column("event_nid", BigInteger, nullable=False, index=True),
    Column("created_ms", BigInteger, nullable=False, index=True),
)

event_mentions = Table(
    "event_mentions",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("event_nid", BigInteger, primary_key=True),
    Column("room_nid", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("thread_root", Text),
    Column("notify", SmallInteger, nullable=False),
    Column("highlight", SmallInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Index("ix_event_mentions_unread", "user_id", "room_nid", "position"),
    Index("ix_event_mentions_age", "created_ms"),
)
