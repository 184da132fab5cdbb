"""Delayed events.

Revision: 0013
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_table(
        "delayed_events",
        sa.Column("delay_id", sa.Text(), primary_key=True),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("transaction_key", sa.Text()),
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("state_key", sa.Text()),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("timestamp_ms", sa.BigInteger()),
        sa.Column("delay_ms", sa.BigInteger(), nullable=False),
        sa.Column("scheduled_ms", sa.BigInteger(), nullable=False),
        sa.Column("due_ms", sa.BigInteger()),
        sa.Column("claimed_ms", sa.BigInteger()),
        sa.Column("finalised_ms", sa.BigInteger()),
        sa.Column("event_id", sa.Text()),
        sa.Column("error", sa.LargeBinary()),
        sa.UniqueConstraint("user_id", "transaction_key", name="uq_delayed_events_transaction"),
    )
    op.create_index("ix_delayed_events_due_ms", "delayed_events", ["due_ms"])
    op.create_index("ix_delayed_events_user_id", "delayed_events", ["user_id", "due_ms"])
    op.create_index("ix_delayed_events_finalised_ms", "delayed_events", ["finalised_ms"])
