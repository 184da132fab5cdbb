"""Other servers: their keys, and what is to be sent to them.

Revision: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

# SQLite numbers rows by itself only for a column declared exactly INTEGER PRIMARY KEY.
ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "destination_back_offs",
        sa.Column("server_name", sa.Text(), primary_key=True),
        sa.Column("failing_since_ms", sa.BigInteger(), nullable=False),
        sa.Column("pause_ms", sa.BigInteger(), nullable=False),
        sa.Column("retry_at_ms", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "destinations",
        sa.Column("server_name", sa.Text(), primary_key=True),
        sa.Column("events_position", sa.BigInteger(), nullable=False),
        sa.Column("transaction_id", sa.Text()),
        sa.Column("transaction_events_position", sa.BigInteger()),
        sa.Column("transaction_edus_position", sa.BigInteger()),
        sa.Column("transaction_body", sa.LargeBinary()),
    )
    op.create_table(
        "device_lists_sent",
        sa.Column("user_id", sa.Text(), primary_key=True),
        sa.Column("stream_id", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "events_to_relay",
        sa.Column("event_id", sa.Text(), primary_key=True),
        sa.Column("noted_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_events_to_relay_noted_ms", "events_to_relay", ["noted_ms"])
    op.create_table(
        "openid_tokens",
        sa.Column("token_hash", sa.LargeBinary(), primary_key=True),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_openid_tokens_expires_ms", "openid_tokens", ["expires_ms"])
    op.create_table(
        "outbound_edus",
        sa.Column("server_name", sa.Text(), primary_key=True),
        sa.Column("position", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("edu", sa.LargeBinary(), nullable=False),
        sa.Column("queued_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_outbound_edus_queued_ms", "outbound_edus", ["queued_ms"])
    op.create_table(
        "outbound_events",
        sa.Column("position", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("event_nid", sa.BigInteger(), nullable=False),
        sa.Column("room_nid", sa.BigInteger(), nullable=False),
        sa.Column("set_nid", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_outbound_events_set", "outbound_events", ["set_nid", "position"])
    op.create_table(
        "server_keys",
        sa.Column("server_name", sa.Text(), primary_key=True),
        sa.Column("key_id", sa.Text(), primary_key=True),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("valid_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("expired_ms", sa.BigInteger()),
        sa.Column("fetched_ms", sa.BigInteger(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "server_set_members",
        sa.Column("server_name", sa.Text(), primary_key=True),
        sa.Column("set_nid", sa.BigInteger(), primary_key=True, autoincrement=False),
    )
    op.create_index("ix_server_set_members_set", "server_set_members", ["set_nid"])
    op.create_table(
        "server_sets",
        sa.Column("nid", ROW_NUMBER, primary_key=True, autoincrement=True),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.UniqueConstraint("sha256", name="uq_server_sets_sha256"),
    )
