"""Keys of devices, messages to devices, key backups.

Revision: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

# SQLite numbers rows by itself only for a column declared exactly INTEGER PRIMARY KEY.
ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "cross_signing_keys",
        sa.Column("user_id", sa.Text(), primary_key=True),
        sa.Column("usage", sa.Text(), primary_key=True),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "device_keys",
        sa.Column("user_id", sa.Text(), primary_key=True),
        sa.Column("device_id", sa.Text(), primary_key=True),
        sa.Column("content", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "device_list_changes",
        sa.Column("user_id", sa.Text(), primary_key=True),
        sa.Column("device_id", sa.Text(), primary_key=True),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_device_list_changes_changed_ms", "device_list_changes", ["changed_ms"])
    op.create_index("ix_device_list_changes_position", "device_list_changes", ["position"])
    op.create_table(
        "fallback_keys",
        sa.Column("user_id", sa.Text(), primary_key=True),
        sa.Column("device_id", sa.Text(), primary_key=True),
        sa.Column("algorithm", sa.Text(), primary_key=True),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("used", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.create_table(
        "key_backup_sessions",
        sa.Column("user_id", sa.Text(), primary_key=True),
        sa.Column("version", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("room_id", sa.Text(), primary_key=True),
        sa.Column("session_id", sa.Text(), primary_key=True),
        sa.Column("first_message_index", sa.BigInteger(), nullable=False),
        sa.Column("forwarded_count", sa.BigInteger(), nullable=False),
        sa.Column("is_verified", sa.Boolean(), nullable=False),
        sa.Column("session_data", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "key_backups",
        sa.Column("user_id", sa.Text(), primary_key=True),
        sa.Column("version", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("auth_data", sa.LargeBinary(), nullable=False),
        sa.Column("etag", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("key_count", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("deleted", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.create_table(
        "key_signatures",
        sa.Column("target_user_id", sa.Text(), primary_key=True),
        sa.Column("target_key", sa.Text(), primary_key=True),
        sa.Column("signer_user_id", sa.Text(), primary_key=True),
        sa.Column("signer_key_id", sa.Text(), primary_key=True),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_key_signatures_signer", "key_signatures", ["signer_user_id", "position"])
    op.create_table(
        "one_time_key_changes",
        sa.Column("user_id", sa.Text(), primary_key=True),
        sa.Column("device_id", sa.Text(), primary_key=True),
        sa.Column("position", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_one_time_key_changes_position", "one_time_key_changes", ["position"])
    op.create_table(
        "one_time_keys",
        sa.Column("nid", ROW_NUMBER, primary_key=True, autoincrement=True),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.UniqueConstraint("user_id", "device_id", "algorithm", "key_id", name="uq_one_time_keys_of_device"),
    )
    op.create_index("ix_one_time_keys_claim", "one_time_keys", ["user_id", "device_id", "algorithm", "nid"])
    op.create_table(
        "to_device_messages",
        sa.Column("user_id", sa.Text(), primary_key=True),
        sa.Column("device_id", sa.Text(), primary_key=True),
        sa.Column("position", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_to_device_messages_position", "to_device_messages", ["position"])
    op.create_index("ix_to_device_messages_received_ms", "to_device_messages", ["received_ms"])
    op.create_table(
        "to_device_transactions",
        sa.Column("user_id", sa.Text(), primary_key=True),
        sa.Column("device_id", sa.Text(), primary_key=True),
        sa.Column("event_type", sa.Text(), primary_key=True),
        sa.Column("transaction_id", sa.Text(), primary_key=True),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_to_device_transactions_received_ms", "to_device_transactions", ["received_ms"])
