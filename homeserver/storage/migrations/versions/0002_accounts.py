"""Accounts, sessions and what belongs to a user alone.

Revision: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# SQLite numbers rows by itself only for a column declared exactly INTEGER PRIMARY KEY.
ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "access_tokens",
        sa.Column("token_nid", ROW_NUMBER, primary_key=True),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text()),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger()),
        sa.Column("refresh_nid", sa.BigInteger()),
        sa.Column("used", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("replaced_ms", sa.BigInteger()),
        sa.UniqueConstraint("token_hash", name="uq_access_tokens_token_hash"),
    )
    op.create_index("ix_access_tokens_refresh_nid", "access_tokens", ["refresh_nid"])
    op.create_index("ix_access_tokens_replaced_ms", "access_tokens", ["replaced_ms"])
    op.create_index("ix_access_tokens_user_id_device_id", "access_tokens", ["user_id", "device_id"])
    op.create_table(
        "account_data",
        sa.Column("user_id", sa.Text(), primary_key=True),
        sa.Column("type", sa.Text(), primary_key=True),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_account_data_user_id_position", "account_data", ["user_id", "position"])
    op.create_table(
        "devices",
        sa.Column("user_id", sa.Text(), primary_key=True),
        sa.Column("device_id", sa.Text(), primary_key=True),
        sa.Column("display_name", sa.Text()),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_ms", sa.BigInteger()),
        sa.Column("last_seen_ip", sa.Text()),
        sa.Column("user_agent", sa.Text()),
    )
    op.create_index("ix_devices_last_seen_ms", "devices", ["last_seen_ms"])
    op.create_table(
        "filters",
        sa.Column("user_id", sa.Text(), primary_key=True),
        sa.Column("filter_id", sa.Text(), primary_key=True),
        sa.Column("definition", sa.LargeBinary(), nullable=False),
        sa.Column("used_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_filters_used_ms", "filters", ["used_ms"])
    op.create_table(
        "login_tokens",
        sa.Column("token_hash", sa.LargeBinary(), primary_key=True),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_login_tokens_expires_ms", "login_tokens", ["expires_ms"])
    op.create_index("ix_login_tokens_user_id", "login_tokens", ["user_id"])
    op.create_table(
        "profiles",
        sa.Column("user_id", sa.Text(), primary_key=True),
        sa.Column("displayname", sa.Text()),
        sa.Column("avatar_url", sa.Text()),
        sa.Column("fields", sa.LargeBinary(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_profiles_position", "profiles", ["position"])
    op.create_table(
        "push_rules",
        sa.Column("user_id", sa.Text(), primary_key=True),
        sa.Column("ruleset", sa.LargeBinary(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "refresh_tokens",
        sa.Column("refresh_nid", ROW_NUMBER, primary_key=True),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger()),
        sa.Column("next_nid", sa.BigInteger()),
        sa.Column("replaced_ms", sa.BigInteger()),
        sa.UniqueConstraint("token_hash", name="uq_refresh_tokens_token_hash"),
    )
    op.create_index("ix_refresh_tokens_next_nid", "refresh_tokens", ["next_nid"])
    op.create_index("ix_refresh_tokens_replaced_ms", "refresh_tokens", ["replaced_ms"])
    op.create_index("ix_refresh_tokens_user_id_device_id", "refresh_tokens", ["user_id", "device_id"])
    op.create_table(
        "registration_tokens",
        sa.Column("token", sa.Text(), primary_key=True),
        sa.Column("uses_allowed", sa.Integer()),
        sa.Column("pending", sa.Integer(), nullable=False),
        sa.Column("completed", sa.Integer(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger()),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "room_account_data",
        sa.Column("user_id", sa.Text(), primary_key=True),
        sa.Column("room_id", sa.Text(), primary_key=True),
        sa.Column("type", sa.Text(), primary_key=True),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_room_account_data_room_id", "room_account_data", ["room_id"])
    op.create_index("ix_room_account_data_user_id_position", "room_account_data", ["user_id", "position"])
    op.create_table(
        "ui_auth_sessions",
        sa.Column("session_id", sa.Text(), primary_key=True),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text()),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("completed", sa.LargeBinary(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_ui_auth_sessions_expires_ms", "ui_auth_sessions", ["expires_ms"])
    op.create_table(
        "users",
        sa.Column("user_id", sa.Text(), primary_key=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("admin", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("password_hash", sa.Text()),
        sa.Column("appservice_id", sa.Text()),
        sa.Column("consent_version", sa.Text()),
        sa.Column("deactivated", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("erased", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("locked", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("suspended", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("rate_limit_exempt", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("leaving_rooms", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.create_index("ix_users_created_ms", "users", ["created_ms"])
    op.create_index(
        "ix_users_leaving_rooms",
        "users",
        ["user_id"],
        sqlite_where=sa.text("users.leaving_rooms"),
        postgresql_where=sa.text("users.leaving_rooms"),
    )
