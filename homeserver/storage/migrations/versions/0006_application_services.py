"""Application services: run-time registrations, what is being sent to them, their networks' directories.

Revision: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "application_services",
        sa.Column("appservice_id", sa.Text(), primary_key=True),
        sa.Column("registration", sa.LargeBinary(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "application_service_queues",
        sa.Column("appservice_id", sa.Text(), primary_key=True),
        sa.Column("transaction_id", sa.Text()),
        sa.Column("transaction_position", sa.BigInteger()),
        sa.Column("transaction_body", sa.LargeBinary()),
        sa.Column("transaction_devices", sa.LargeBinary()),
        sa.Column("failing_since_ms", sa.BigInteger()),
        sa.Column("pause_ms", sa.BigInteger()),
        sa.Column("retry_at_ms", sa.BigInteger()),
    )
    op.create_table(
        "network_rooms",
        sa.Column("appservice_id", sa.Text(), primary_key=True),
        sa.Column("network_id", sa.Text(), primary_key=True),
        sa.Column("room_nid", sa.BigInteger(), primary_key=True, autoincrement=False),
    )
