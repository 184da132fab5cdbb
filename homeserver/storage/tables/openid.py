"""Tokens by which users prove to other services who they are. Stored as SHA-256 hashes, like all tokens.

They open nothing on this server but the question whose they are.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, LargeBinary, Table, Text

from homeserver.storage.tables.metadata import metadata

openid_tokens = Table(
    "openid_tokens",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("expires_ms", BigInteger, nullable=False, index=True),
)
