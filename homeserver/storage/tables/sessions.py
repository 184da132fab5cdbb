"""Devices, the tokens they hold, and what is under way before somebody holds one.

Tokens are stored as SHA-256 hashes: a copy of the database logs nobody in.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, LargeBinary, Table, Text, false

from homeserver.storage.tables.metadata import RowNumber, metadata

devices = Table(
    "devices",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("device_id", Text, primary_key=True),
    Column("display_name", Text),
    Column("created_ms", BigInteger, nullable=False),
    Column("last_seen_ms", BigInteger),
    Column("last_seen_ip", Text),
    Column("user_agent", Text),
)
Index("ix_devices_last_seen_ms", devices.c.last_seen_ms)

access_tokens = Table(
    "access_tokens",
    metadata,
    Column("token_nid", RowNumber, primary_key=True),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    Column("user_id", Text, nullable=False),
    Column("device_id", Text),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger),
    Column("refresh_nid", BigInteger),  # the refresh token handed out with it
    Column("used", Boolean, nullable=False, server_default=false()),
    Column("replaced_ms", BigInteger),
)
Index("ix_access_tokens_user_id_device_id", access_tokens.c.user_id, access_tokens.c.device_id)
Index("ix_access_tokens_refresh_nid", access_tokens.c.refresh_nid)
Index("ix_access_tokens_replaced_ms", access_tokens.c.replaced_ms)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    Column("refresh_nid", RowNumber, primary_key=True),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    Column("user_id", Text, nullable=False),
    Column("device_id", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger),
    Column("next_nid", BigInteger),  # the refresh token it was exchanged for
    Column("replaced_ms", BigInteger),  # set once that one, or its access token, was used
)
Index("ix_refresh_tokens_user_id_device_id", refresh_tokens.c.user_id, refresh_tokens.c.device_id)
Index("ix_refresh_tokens_next_nid", refresh_tokens.c.next_nid)
Index("ix_refresh_tokens_replaced_ms", refresh_tokens.c.replaced_ms)

login_tokens = Table(
    "login_tokens",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
)
Index("ix_login_tokens_expires_ms", login_tokens.c.expires_ms)
Index("ix_login_tokens_user_id", login_tokens.c.user_id)

ui_auth_sessions = Table(
    "ui_auth_sessions",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("operation", Text, nullable=False),
    Column("user_id", Text),
    Column("body", LargeBinary, nullable=False),  # the parameters of the request to be authorised
    Column("completed", LargeBinary, nullable=False),  # stage type -> what the stage found out
    Column("expires_ms", BigInteger, nullable=False),
)
Index("ix_ui_auth_sessions_expires_ms", ui_auth_sessions.c.expires_ms)
