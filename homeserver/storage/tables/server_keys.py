"""Signing keys of other servers, with the signed answers they came in.

An answer is kept because a notary must be able to hand it on while its origin is away.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, LargeBinary, Table, Text

from homeserver.storage.tables.metadata import metadata

server_keys = Table(
    "server_keys",
    metadata,
    Column("server_name", Text, primary_key=True),
    Column("key_id", Text, primary_key=True),
    Column("public_key", Text, nullable=False),  # unpadded Base64
    Column("valid_until_ms", BigInteger, nullable=False),
    Column("expired_ms", BigInteger),  # set for a key that its owner no longer signs with
    Column("fetched_ms", BigInteger, nullable=False),
    Column("answer", LargeBinary, nullable=False),  # JSON: the object its owner signed
)
