"""The server as OAuth 2.0 provider: clients, what they were granted, what is under way, and who is logged in where.

Codes and tokens are stored as SHA-256 hashes, and every row but a grant has a time at which it is worth nothing.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, LargeBinary, Table, Text, false

from homeserver.storage.tables.metadata import metadata

oauth_clients = Table(
    "oauth_clients",
    metadata,
    Column("client_id", Text, primary_key=True),
    Column("metadata_hash", LargeBinary, nullable=False, unique=True),  # the same metadata is the same client
    Column("metadata", LargeBinary, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("used_ms", BigInteger, nullable=False),
)
Index("ix_oauth_clients_used_ms", oauth_clients.c.used_ms)

oauth_grants = Table(
    "oauth_grants",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("device_id", Text, primary_key=True),
    Column("client_id", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("granted_ms", BigInteger, nullable=False),
)
Index("ix_oauth_grants_client_id", oauth_grants.c.client_id)

oauth_codes = Table(
    "oauth_codes",
    metadata,
    Column("code_hash", LargeBinary, primary_key=True),
    Column("client_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("redirect_uri", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("code_challenge", Text, nullable=False),
    Column("used", Boolean, nullable=False, server_default=false()),
    Column("expires_ms", BigInteger, nullable=False),
)
Index("ix_oauth_codes_expires_ms", oauth_codes.c.expires_ms)
Index("ix_oauth_codes_user_id", oauth_codes.c.user_id)

oauth_device_codes = Table(
    "oauth_device_codes",
    metadata,
    Column("device_code_hash", LargeBinary, primary_key=True),
    Column("user_code_hash", LargeBinary, nullable=False, unique=True),
    Column("client_id", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("verdict", Text, nullable=False),  # pending, approved, denied
    Column("user_id", Text),  # who approved it
    Column("interval_ms", BigInteger, nullable=False),
    Column("polled_ms", BigInteger),
    Column("expires_ms", BigInteger, nullable=False),
)
Index("ix_oauth_device_codes_expires_ms", oauth_device_codes.c.expires_ms)
Index("ix_oauth_device_codes_user_id", oauth_device_codes.c.user_id)

oauth_browser_sessions = Table(
    "oauth_browser_sessions",
    metadata,
    Column("session_hash", LargeBinary, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("proved_ms", BigInteger, nullable=False),  # when its user last showed who they are
    Column("expires_ms", BigInteger, nullable=False),
)
Index("ix_oauth_browser_sessions_user_id", oauth_browser_sessions.c.user_id)
Index("ix_oauth_browser_sessions_expires_ms", oauth_browser_sessions.c.expires_ms)

oauth_approvals = Table(
    "oauth_approvals",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("action", Text, primary_key=True),
    Column("expires_ms", BigInteger, nullable=False),
)
Index("ix_oauth_approvals_expires_ms", oauth_approvals.c.expires_ms)
