"""Connections of sliding sync.

Revision: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

# SQLite numbers rows by itself only for a column declared exactly INTEGER PRIMARY KEY.
ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "sliding_connections",
        sa.Column("nid", ROW_NUMBER, primary_key=True, autoincrement=True),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("used_ms", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("user_id", "device_id", "name", name="uq_sliding_connections"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_sliding_connections_used_ms", "sliding_connections", ["used_ms"])
    op.create_table(
        "sliding_steps",
        sa.Column("connection_nid", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("changes", sa.LargeBinary(), nullable=False),
    )
