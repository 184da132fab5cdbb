"""The content repository, pushers, and what plugins keep.

Revision: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

# SQLite numbers rows by itself only for a column declared exactly INTEGER PRIMARY KEY.
ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "media",
        sa.Column("server_name", sa.Text(), primary_key=True),
        sa.Column("media_id", sa.Text(), primary_key=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text()),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text()),
        sa.Column("size", sa.BigInteger()),
        sa.Column("sha256", sa.LargeBinary()),
        sa.Column("store_id", sa.Text()),
        sa.Column("width", sa.Integer()),
        sa.Column("height", sa.Integer()),
        sa.Column("animated", sa.Boolean(), nullable=False),
        sa.Column("public", sa.Boolean(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger()),
        sa.Column("last_access_ms", sa.BigInteger(), nullable=False),
        sa.Column("quarantined_by", sa.Text()),
    )
    op.create_index("ix_media_expires_ms", "media", ["expires_ms"])
    op.create_index("ix_media_kind_last_access_ms", "media", ["kind", "last_access_ms"])
    op.create_index("ix_media_sha256", "media", ["sha256"])
    op.create_index("ix_media_user_id_created_ms", "media", ["user_id", "created_ms"])
    op.create_table(
        "media_thumbnails",
        sa.Column("server_name", sa.Text(), primary_key=True),
        sa.Column("media_id", sa.Text(), primary_key=True),
        sa.Column("width", sa.Integer(), primary_key=True),
        sa.Column("height", sa.Integer(), primary_key=True),
        sa.Column("method", sa.Text(), primary_key=True),
        sa.Column("animated", sa.Boolean(), primary_key=True),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("store_id", sa.Text(), nullable=False),
    )
    op.create_table(
        "plugin_data",
        sa.Column("plugin", sa.Text(), primary_key=True),
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger()),
    )
    op.create_index("ix_plugin_data_expires_ms", "plugin_data", ["expires_ms"])
    op.create_table(
        "plugin_uses",
        sa.Column("plugin", sa.Text(), primary_key=True),
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("uses", sa.Integer(), nullable=False),
    )
    op.create_table(
        "push_queue",
        sa.Column("pusher_nid", sa.BigInteger(), primary_key=True),
        sa.Column("position", sa.BigInteger(), primary_key=True),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("tweaks", sa.LargeBinary(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "pushers",
        sa.Column("pusher_nid", ROW_NUMBER, primary_key=True),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("app_id", sa.Text(), nullable=False),
        sa.Column("pushkey", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("app_display_name", sa.Text(), nullable=False),
        sa.Column("device_display_name", sa.Text(), nullable=False),
        sa.Column("lang", sa.Text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("set_ms", sa.BigInteger(), nullable=False),
        sa.Column("profile_tag", sa.Text()),
        sa.Column("device_id", sa.Text()),
        sa.Column("failures", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("retry_ms", sa.BigInteger()),
        sa.UniqueConstraint("user_id", "app_id", "pushkey", name="uq_pushers_user_id_app_id_pushkey"),
    )
    op.create_index("ix_pushers_pushkey_app_id", "pushers", ["pushkey", "app_id"])
    op.create_table(
        "url_previews",
        sa.Column("url_sha256", sa.LargeBinary(), primary_key=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("fetched_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_url_previews_fetched_ms", "url_previews", ["fetched_ms"])
