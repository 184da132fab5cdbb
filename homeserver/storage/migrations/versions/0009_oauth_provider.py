"""The server as OAuth 2.0 provider.

Revision: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "oauth_clients",
        sa.Column("client_id", sa.Text(), primary_key=True),
        sa.Column("metadata_hash", sa.LargeBinary(), nullable=False),
        sa.Column("metadata", sa.LargeBinary(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("used_ms", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("metadata_hash", name="uq_oauth_clients_metadata_hash"),
    )
    op.create_index("ix_oauth_clients_used_ms", "oauth_clients", ["used_ms"])
    op.create_table(
        "oauth_grants",
        sa.Column("user_id", sa.Text(), primary_key=True),
        sa.Column("device_id", sa.Text(), primary_key=True),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("granted_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_oauth_grants_client_id", "oauth_grants", ["client_id"])
    op.create_table(
        "oauth_codes",
        sa.Column("code_hash", sa.LargeBinary(), primary_key=True),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("redirect_uri", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("code_challenge", sa.Text(), nullable=False),
        sa.Column("used", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_oauth_codes_expires_ms", "oauth_codes", ["expires_ms"])
    op.create_index("ix_oauth_codes_user_id", "oauth_codes", ["user_id"])
    op.create_table(
        "oauth_device_codes",
        sa.Column("device_code_hash", sa.LargeBinary(), primary_key=True),
        sa.Column("user_code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text()),
        sa.Column("interval_ms", sa.BigInteger(), nullable=False),
        sa.Column("polled_ms", sa.BigInteger()),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("user_code_hash", name="uq_oauth_device_codes_user_code_hash"),
    )
    op.create_index("ix_oauth_device_codes_expires_ms", "oauth_device_codes", ["expires_ms"])
    op.create_index("ix_oauth_device_codes_user_id", "oauth_device_codes", ["user_id"])
    op.create_table(
        "oauth_browser_sessions",
        sa.Column("session_hash", sa.LargeBinary(), primary_key=True),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("proved_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_oauth_browser_sessions_user_id", "oauth_browser_sessions", ["user_id"])
    op.create_index("ix_oauth_browser_sessions_expires_ms", "oauth_browser_sessions", ["expires_ms"])
    op.create_table(
        "oauth_approvals",
        sa.Column("user_id", sa.Text(), primary_key=True),
        sa.Column("action", sa.Text(), primary_key=True),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_oauth_approvals_expires_ms", "oauth_approvals", ["expires_ms"])
