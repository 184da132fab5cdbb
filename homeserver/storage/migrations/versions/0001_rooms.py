"""The log, rooms and their events.

Revision: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# SQLite numbers rows by itself only for a column declared exactly INTEGER PRIMARY KEY.
ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "backward_extremities",
        sa.Column("room_nid", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("event_id", sa.Text(), primary_key=True),
        sa.Column("depth", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "event_mentions",
        sa.Column("user_id", sa.Text(), primary_key=True),
        sa.Column("event_nid", sa.BigInteger(), primary_key=True),
        sa.Column("room_nid", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("thread_root", sa.Text()),
        sa.Column("notify", sa.SmallInteger(), nullable=False),
        sa.Column("highlight", sa.SmallInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_event_mentions_age", "event_mentions", ["created_ms"])
    op.create_index("ix_event_mentions_unread", "event_mentions", ["user_id", "room_nid", "position"])
    op.create_table(
        "event_relations",
        sa.Column("child_nid", sa.BigInteger(), primary_key=True),
        sa.Column("parent_event_id", sa.Text(), nullable=False),
        sa.Column("room_nid", sa.BigInteger(), nullable=False),
        sa.Column("rel_type", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("aggregation_key", sa.Text()),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("depth", sa.BigInteger(), nullable=False),
    )
    op.create_index(
        "ix_event_relations_parent", "event_relations", ["parent_event_id", "rel_type", "depth", "position"]
    )
    op.create_index(
        "ix_event_relations_threads",
        "event_relations",
        ["room_nid", "position"],
        sqlite_where=sa.text("rel_type = 'm.thread'"),
        postgresql_where=sa.text("rel_type = 'm.thread'"),
    )
    op.create_table(
        "events",
        sa.Column("nid", ROW_NUMBER, primary_key=True, autoincrement=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("room_nid", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger()),
        sa.Column("depth", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("state_key", sa.Text()),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("origin_server_ts", sa.BigInteger(), nullable=False),
        sa.Column("standing", sa.SmallInteger(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("state_before_nid", sa.BigInteger()),
        sa.Column("state_after_nid", sa.BigInteger()),
        sa.Column("notify", sa.SmallInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("thread_root", sa.Text()),
        sa.Column("redacted_by_nid", sa.BigInteger()),
        sa.Column("stripped", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("pdu", sa.LargeBinary(), nullable=False),
        sa.UniqueConstraint("event_id", name="uq_events_event_id"),
    )
    op.create_index(
        "ix_events_redacted",
        "events",
        ["redacted_by_nid"],
        sqlite_where=sa.text("redacted_by_nid IS NOT NULL"),
        postgresql_where=sa.text("redacted_by_nid IS NOT NULL"),
    )
    op.create_index("ix_events_room_depth", "events", ["room_nid", "depth", "position"])
    op.create_index("ix_events_room_position", "events", ["room_nid", "position"])
    op.create_index(
        "ix_events_room_state",
        "events",
        ["room_nid", "type", "state_key"],
        sqlite_where=sa.text("state_key IS NOT NULL"),
        postgresql_where=sa.text("state_key IS NOT NULL"),
    )
    op.create_table(
        "follower_positions",
        sa.Column("follower", sa.Text(), primary_key=True),
        sa.Column("position", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "memberships",
        sa.Column("room_nid", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("user_id", sa.Text(), primary_key=True),
        sa.Column("membership", sa.Text(), nullable=False),
        sa.Column("event_nid", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text()),
        sa.Column("avatar_url", sa.Text()),
        sa.Column("local", sa.Boolean(), nullable=False),
        sa.Column("forgotten", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.create_index("ix_memberships_user", "memberships", ["user_id", "membership"])
    op.create_table(
        "positions",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("value", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "receipts",
        sa.Column("room_nid", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("user_id", sa.Text(), primary_key=True),
        sa.Column("receipt_type", sa.Text(), primary_key=True),
        sa.Column("thread_id", sa.Text(), primary_key=True),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("event_position", sa.BigInteger(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_receipts_room_position", "receipts", ["room_nid", "position"])
    op.create_index("ix_receipts_user", "receipts", ["user_id", "position"])
    op.create_table(
        "redactions",
        sa.Column("redaction_nid", sa.BigInteger(), primary_key=True),
        sa.Column("redacts_event_id", sa.Text(), nullable=False),
    )
    op.create_index("ix_redactions_redacts_event_id", "redactions", ["redacts_event_id"])
    op.create_table(
        "reports",
        sa.Column("nid", ROW_NUMBER, primary_key=True, autoincrement=True),
        sa.Column("reporter", sa.Text(), nullable=False),
        sa.Column("room_id", sa.Text()),
        sa.Column("event_id", sa.Text()),
        sa.Column("user_id", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_reports_created_ms", "reports", ["created_ms"])
    op.create_table(
        "room_aliases",
        sa.Column("alias", sa.Text(), primary_key=True),
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("creator", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_room_aliases_room_id", "room_aliases", ["room_id"])
    op.create_table(
        "room_state_log",
        sa.Column("room_nid", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("position", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("state_group_nid", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "room_summaries",
        sa.Column("room_nid", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("creator", sa.Text()),
        sa.Column("room_type", sa.Text()),
        sa.Column("name", sa.Text()),
        sa.Column("topic", sa.Text()),
        sa.Column("avatar_url", sa.Text()),
        sa.Column("canonical_alias", sa.Text()),
        sa.Column("join_rule", sa.Text()),
        sa.Column("history_visibility", sa.Text()),
        sa.Column("guest_access", sa.Text()),
        sa.Column("encryption", sa.Text()),
        sa.Column("replacement_room", sa.Text()),
        sa.Column("joined_members", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("invited_members", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("published", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_room_summaries_published", "room_summaries", ["published", "joined_members"])
    op.create_table(
        "rooms",
        sa.Column("nid", ROW_NUMBER, primary_key=True, autoincrement=True),
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("latest_position", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("state_group_nid", sa.BigInteger()),
        sa.Column("forward_extremities", sa.Text(), nullable=False, server_default=sa.text("'[]'")),
        sa.UniqueConstraint("room_id", name="uq_rooms_room_id"),
    )
    op.create_table(
        "server_settings",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("value", sa.Text(), nullable=False),
    )
    op.create_table(
        "state_groups",
        sa.Column("nid", ROW_NUMBER, primary_key=True, autoincrement=False),
        sa.Column("room_nid", sa.BigInteger(), nullable=False),
        sa.Column("previous_nid", sa.BigInteger()),
        sa.Column("chain_length", sa.Integer(), nullable=False),
        sa.Column("entries", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_state_groups_room_nid", "state_groups", ["room_nid"])
    op.create_table(
        "transaction_ids",
        sa.Column("user_id", sa.Text(), primary_key=True),
        sa.Column("device_id", sa.Text(), primary_key=True),
        sa.Column("scope", sa.Text(), primary_key=True),
        sa.Column("transaction_id", sa.Text(), primary_key=True),
        sa.Column("event_nid", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_transaction_ids_created_ms", "transaction_ids", ["created_ms"])
    op.create_index("ix_transaction_ids_event_nid", "transaction_ids", ["event_nid"])
