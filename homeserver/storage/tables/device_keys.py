"""What devices and users publish for end-to-end encryption, and when their device lists last changed.

Keys are JSON as uploaded. Signatures are rows of their own: they come later, and not everyone may see them.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, LargeBinary, Table, Text, UniqueConstraint, false

from homeserver.storage.tables.metadata import RowNumber, metadata

device_keys = Table(
    "device_keys",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("device_id", Text, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

one_time_keys = Table(
    "one_time_keys",
    metadata,
    Column("nid", RowNumber, primary_key=True, autoincrement=True),  # keys are given out in this order
    Column("user_id", Text, nullable=False),
    Column("device_id", Text, nullable=False),
    Column("algorithm", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("key", LargeBinary, nullable=False),
    UniqueConstraint("user_id", "device_id", "algorithm", "key_id", name="uq_one_time_keys_of_device"),
    Index("ix_one_time_keys_claim", "user_id", "device_id", "algorithm", "nid"),
)

fallback_keys = Table(
    "fallback_keys",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("device_id", Text, primary_key=True),
    Column("algorithm", Text, primary_key=True),
    Column("key_id", Text, nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("used", Boolean, nullable=False, server_default=false()),
)

one_time_key_changes = Table(
    "one_time_key_changes",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("device_id", Text, primary_key=True),
    Column("position", BigInteger, nullable=False, index=True),
)

cross_signing_keys = Table(
    "cross_signing_keys",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("usage", Text, primary_key=True),  # master, self_signing or user_signing
    Column("public_key", Text, nullable=False),
    Column("key", LargeBinary, nullable=False),
)

key_signatures = Table(
    "key_signatures",
    metadata,
    Column("target_user_id", Text, primary_key=True),
    Column("target_key", Text, primary_key=True),  # a device ID, or the public key of a master key
    Column("signer_user_id", Text, primary_key=True),
    Column("signer_key_id", Text, primary_key=True),
    Column("signature", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Index("ix_key_signatures_signer", "signer_user_id", "position"),
)

device_list_changes = Table(
    "device_list_changes",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("device_id", Text, primary_key=True),  # "" stands for the user's cross-signing keys
    Column("position", BigInteger, nullable=False, index=True),
    Column("changed_ms", BigInteger, nullable=False, index=True),
)
