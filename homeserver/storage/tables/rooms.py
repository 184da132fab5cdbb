"""Rooms: the row every append compares and sets, their state as deltas, members, aliases and receipts.

A message writes the small `rooms` row; only state events touch the others.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, Text, false, text

from homeserver.storage.tables.metadata import RowNumber, metadata

rooms = Table(
    "rooms",
    metadata,
    Column("nid", RowNumber, primary_key=True, autoincrement=True),
    Column("room_id", Text, nullable=False, unique=True),
    Column("version", Text, nullable=False),
    Column("revision", BigInteger, nullable=False, server_default=text("0")),
    Column("latest_position", BigInteger, nullable=False, server_default=text("0")),
    Column("state_group_nid", BigInteger),
    # JSON: [[event_id, depth, sha256 of the reference hash], ...]
    Column("forward_extremities", Text, nullable=False, server_default=text("'[]'")),
)

room_summaries = Table(
    "room_summaries",
    metadata,
    Column("room_nid", BigInteger, primary_key=True, autoincrement=False),
    Column("creator", Text),
    Column("room_type", Text),
    Column("name", Text),
    Column("topic", Text),
    Column("avatar_url", Text),
    Column("canonical_alias", Text),
    Column("join_rule", Text),
    Column("history_visibility", Text),
    Column("guest_access", Text),
    Column("encryption", Text),
    Column("replacement_room", Text),
    Column("joined_members", Integer, nullable=False, server_default=text("0")),
    Column("invited_members", Integer, nullable=False, server_default=text("0")),
    Column("published", Boolean, nullable=False, server_default=false()),
    Column("created_ms", BigInteger, nullable=False),
    Index("ix_room_summaries_published", "published", "joined_members"),
)

state_groups = Table(
    "state_groups",
    metadata,
    # Taken from the log's counter, too.
    Column("nid", RowNumber, primary_key=True, autoincrement=False),
    Column("room_nid", BigInteger, nullable=False, index=True),
    # None: `entries` is the whole state. Otherwise they are laid over the previous group.
    Column("previous_nid", BigInteger),
    Column("chain_length", Integer, nullable=False),
    # Packed 64-bit row numbers of events; a negative one takes that event's key away.
    Column("entries", LargeBinary, nullable=False),
)

room_state_log = Table(
    "room_state_log",
    metadata,
    Column("room_nid", BigInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("state_group_nid", BigInteger, nullable=False),
)

backward_extremities = Table(
    "backward_extremities",
    metadata,
    Column("room_nid", BigInteger, primary_key=True, autoincrement=False),
    Column("event_id", Text, primary_key=True),
    Column("depth", BigInteger, nullable=False),
)

memberships = Table(
    "memberships",
    metadata,
    Column("room_nid", BigInteger, primary_key=True, autoincrement=False),
    Column("user_id", Text, primary_key=True),
    Column("membership", Text, nullable=False),
    Column("event_nid", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("sender", Text, nullable=False),
    Column("display_name", Text),
    Column("avatar_url", Text),
    Column("local", Boolean, nullable=False),
    Column("forgotten", Boolean, nullable=False, server_default=false()),
    Index("ix_memberships_user", "user_id", "membership"),
)

room_aliases = Table(
    "room_aliases",
    metadata,
    Column("alias", Text, primary_key=True),
    Column("room_id", Text, nullable=False, index=True),
    Column("creator", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

receipts = Table(
    "receipts",
    metadata,
    Column("room_nid", BigInteger, primary_key=True, autoincrement=False),
    Column("user_id", Text, primary_key=True),
    Column("receipt_type", Text, primary_key=True),
    # "" stands for a receipt that belongs to no thread.
    Column("thread_id", Text, primary_key=True),
    Column("event_id", Text, nullable=False),
    # Where the event stands in the log; receipts never move backwards from it.
    Column("event_position", BigInteger, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Index("ix_receipts_room_position", "room_nid", "position"),
    Index("ix_receipts_user", "user_id", "position"),
)
