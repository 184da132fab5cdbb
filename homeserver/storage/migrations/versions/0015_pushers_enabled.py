"""Pushers that can be paused.

Revision: 0015
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.add_column("pushers", sa.Column("enabled", sa.Boolean(), nullable=False, server_default=sa.true()))
